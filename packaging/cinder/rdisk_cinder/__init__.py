# SPDX-License-Identifier: BSD-3-Clause
"""rdisk volumes in OpenStack: Cinder's driver and os-brick's connector."""
