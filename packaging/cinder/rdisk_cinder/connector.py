# SPDX-License-Identifier: BSD-3-Clause
"""os-brick's connector: a volume as a disk of rdisk-vhost on a compute node.

    import rdisk_cinder.connector
    rdisk_cinder.connector.register()

makes os_brick.initiator.connector.InitiatorConnector.factory('rdisk', …) return
it. connect_volume() answers with the socket to which a VMM connects:

    {'type': 'vhostuser', 'path': '/run/rdisk-vhost/NAME.sock'}

which is libvirt's <disk type='vhostuser'>.
"""
import os

from os_brick import exception
from os_brick.initiator import connector
from os_brick.initiator.connectors import base

from rdisk_cinder import command

CONTROL = '/run/rdisk-vhost/control.sock'
SOCKETS = '/run/rdisk-vhost'


class RdiskConnector(base.BaseLinuxConnector):
    def __init__(self, root_helper, driver=None, control=CONTROL,
                 sockets=SOCKETS, **kwargs):
        super().__init__(root_helper, driver=driver, **kwargs)
        self.control, self.sockets = control, sockets

    @staticmethod
    def get_connector_properties(root_helper, *args, **kwargs):
        return {}

    def get_search_path(self):
        return self.sockets

    def get_volume_paths(self, connection_properties):
        path = self._socket(connection_properties)
        return [path] if os.path.exists(path) else []

    def get_all_available_volumes(self, connection_properties=None):
        return [os.path.join(self.sockets, name)
                for name in os.listdir(self.sockets) if name.endswith('.sock')]

    def _socket(self, properties):
        return os.path.join(self.sockets, properties['name'] + '.sock')

    def _disks(self):
        return {disk['name']: disk
                for disk in command.ask(self.control, 'stat')['disks']}

    def connect_volume(self, connection_properties):
        path = self._socket(connection_properties)
        if connection_properties['name'] not in self._disks():
            words = ['add', connection_properties['name'],
                     'uri=' + connection_properties['uri'], 'socket=' + path]
            if connection_properties.get('user'):
                words += ['user=' + connection_properties['user'],
                          'secret-file=' + connection_properties['secret_file']]
            command.run(self.control, *words)
        if not os.path.exists(path):
            raise exception.VolumeDeviceNotFound(device=path)
        return {'type': 'vhostuser', 'path': path}

    def disconnect_volume(self, connection_properties, device_info,
                          force=False, ignore_errors=False):
        try:
            command.run(self.control, 'remove', connection_properties['name'])
        except command.Failure as failure:
            if failure.status != command.NOT_FOUND and not ignore_errors:
                raise

    def extend_volume(self, connection_properties):
        """The size that the disk has by now, bytes: rdisk-vhost is notified by
        the server, and so is the guest."""
        disk = self._disks().get(connection_properties['name'])
        if not disk:
            raise exception.VolumeDeviceNotFound(
                device=self._socket(connection_properties))
        return disk['size']


def register():
    # pylint: disable=protected-access
    connector._connector_mapping_linux['RDISK'] = \
        'rdisk_cinder.connector.RdiskConnector'
