# SPDX-License-Identifier: BSD-3-Clause
"""Cinder's volume driver: volumes of an rdiskd on the same machine.

    [rdisk]
    volume_driver = rdisk_cinder.driver.RdiskDriver
    volume_backend_name = rdisk
    rdisk_server = storage1.example:7471
    rdisk_user = cinder
    rdisk_secret_file = /etc/rdisk/cinder.secret

cinder-volume runs where rdiskd runs, as a user that may use its control socket.
rdisk_server is what compute nodes connect to; user and secret file, which is on
the compute nodes, are theirs. A snapshot of a volume is rdisk's, VOLUME@SNAPSHOT,
and a clone shares its blocks, so the pool is on XFS, btrfs or Ceph for them.
"""
from cinder import exception
from cinder.volume import driver
from oslo_config import cfg
from oslo_utils import units

from rdisk_cinder import command

OPTIONS = [
    cfg.StrOpt('rdisk_control', default='/run/rdiskd/control.sock',
               help='Control socket of rdiskd'),
    cfg.StrOpt('rdisk_server', help='HOST[:PORT] of rdiskd, for compute nodes'),
    cfg.StrOpt('rdisk_user', help='Name of the client, if rdiskd demands one'),
    cfg.StrOpt('rdisk_secret_file',
               help='File with its secret, on the compute nodes'),
    cfg.StrOpt('rdisk_options', default='reconnect-delay=300',
               help='Options of the URI'),
]


class RdiskDriver(driver.VolumeDriver):
    VERSION = '1.0'
    CI_WIKI_NAME = 'rdisk'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.configuration:
            self.configuration.append_config_values(OPTIONS)

    @staticmethod
    def get_driver_options():
        return OPTIONS

    # ---- The command line

    def _run(self, *words):
        try:
            return command.run(self.configuration.rdisk_control, *words)
        except command.Failure as failure:
            raise exception.VolumeBackendAPIException(
                data=str(failure)) from failure

    def _delete(self, what, *words):
        """True if it was there."""
        try:
            command.run(self.configuration.rdisk_control, *words)
        except command.Failure as failure:
            if failure.status == command.NOT_FOUND:
                return False
            if failure.status == command.BUSY:
                raise what(str(failure)) from failure
            raise exception.VolumeBackendAPIException(
                data=str(failure)) from failure
        return True

    @staticmethod
    def _snapshot(snapshot):
        return f'{snapshot.volume_name}@{snapshot.name}'

    # ---- The service

    def do_setup(self, context):
        pass

    def check_for_setup_error(self):
        if not self.configuration.rdisk_server:
            raise exception.InvalidConfigurationValue(
                option='rdisk_server', value=None)
        self._run('list')

    def _update_volume_stats(self):
        pool = command.ask(self.configuration.rdisk_control,
                           'list').get('pool', {})
        self._stats = {
            'volume_backend_name':
                self.configuration.safe_get('volume_backend_name') or 'rdisk',
            'vendor_name': 'rdisk',
            'driver_version': self.VERSION,
            'storage_protocol': 'rdisk',
            'total_capacity_gb': pool.get('capacity', 0) / units.Gi,
            'free_capacity_gb': pool.get('available', 0) / units.Gi,
            'provisioned_capacity_gb': pool.get('provisioned', 0) / units.Gi,
            'thin_provisioning_support': True,
            'max_over_subscription_ratio': self.configuration.safe_get(
                'max_over_subscription_ratio') or '20.0',
            'reserved_percentage': self.configuration.safe_get(
                'reserved_percentage') or 0,
            'QoS_support': False,
            'multiattach': False,
        }

    # ---- Volumes

    def create_volume(self, volume):
        self._run('create', volume.name, f'{volume.size}G')

    def delete_volume(self, volume):
        def busy(_):
            return exception.VolumeIsBusy(volume_name=volume.name)
        self._delete(busy, 'delete', volume.name)

    def extend_volume(self, volume, new_size):
        self._run('resize', volume.name, f'{new_size}G')

    def create_snapshot(self, snapshot):
        self._run('snapshot', 'create', self._snapshot(snapshot))

    def delete_snapshot(self, snapshot):
        def busy(_):
            return exception.SnapshotIsBusy(snapshot_name=snapshot.name)
        self._delete(busy, 'snapshot', 'delete', self._snapshot(snapshot))

    def _clone(self, source, volume, size):
        self._run('clone', source, volume.name)
        if volume.size > size:
            self.extend_volume(volume, volume.size)

    def create_volume_from_snapshot(self, volume, snapshot):
        self._clone(self._snapshot(snapshot), volume, snapshot.volume_size)

    def create_cloned_volume(self, volume, src_vref):
        self._clone(src_vref.name, volume, src_vref.size)

    def revert_to_snapshot(self, context, volume, snapshot):
        self._run('snapshot', 'revert', self._snapshot(snapshot))

    # ---- What a compute node needs

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector):
        options = self.configuration.rdisk_options
        data = {
            'volume_id': volume.id,
            'name': volume.name,
            'uri': f'rdma://{self.configuration.rdisk_server}/{volume.name}' +
                   (f'?{options}' if options else ''),
        }
        if self.configuration.rdisk_user:
            data['user'] = self.configuration.rdisk_user
            data['secret_file'] = self.configuration.rdisk_secret_file
        return {'driver_volume_type': 'rdisk', 'data': data}

    def terminate_connection(self, volume, connector, **kwargs):
        pass
