#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
#
# The plugin of packaging/proxmox, without Proxmox VE: what it calls of that is in
# PVE/ beside this file. With RDISK_SERVER=HOST:PORT, of an rdiskd that lets any
# client create, also with that server and the program rdisk.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin, "$FindBin::Bin/../../packaging/proxmox";
use Test::More;
use PVE::Storage::Custom::RdiskPlugin;

my $plugin = 'PVE::Storage::Custom::RdiskPlugin';
my $config = { server => 'storage1:7471' };

sub dies_with
{
    my ($code, $words, $what) = @_;
    eval { $code->() };
    like($@, $words, $what);
}

# ---- Names and paths

is($plugin->type(), 'rdisk', 'the type of the storage');
ok($plugin->api() >= 9, 'a version of the interface');
is_deeply([$plugin->parse_volname('vm-100-disk-0')],
    ['images', 'vm-100-disk-0', '100', undef, undef, 0, 'raw'],
    'a disk belongs to its guest');
is(($plugin->parse_volname('base-7-disk-1'))[5], 1, 'a base is one');
for my $bad ('disk', 'vm-x-disk-0', '../vm-1-disk-0', 'vm-1-disk-0/a', "vm-1-a\n") {
    dies_with(sub { $plugin->parse_volname($bad) }, qr/unable to parse/,
        'a bad name is refused');
}
is(scalar $plugin->path($config, 'vm-1-disk-0', 's'),
    'rdma://storage1:7471/vm-1-disk-0?reconnect-delay=300',
    'the path is a URI, and requests wait for a lost server');
is(scalar $plugin->path({ server => 'fe80::1', 'rdisk-options' => '' },
        'vm-1-disk-0', 's', 'before'),
    'rdma://[fe80::1]/vm-1-disk-0@before', 'IPv6, no options, a snapshot');
dies_with(sub { $plugin->alloc_image('s', $config, 1, 'qcow2', undef, 1024) },
    qr/unsupported format/, 'images are raw');
dies_with(sub { $plugin->alloc_image('s', $config, 1, 'raw', 'vm-2-disk-0', 1) },
    qr/illegal name/, 'a name is of its guest');
my %known = map { $_ => 1 } keys %{ $plugin->properties() },
    qw(server content nodes disable shared);
is_deeply([grep { !$known{$_} } keys %{ $plugin->options() }], [],
    'each option is a property');

# ---- What rdisk is to do

{
    no warnings 'redefine';
    my @calls;
    local *PVE::Tools::run_command = sub {
        my ($command, %options) = @_;
        push @calls, "@$command";
        $options{outfunc}->('{"volumes": [{"name": "vm-1-disk-0", "size": 512}]}')
            if $command->[1] eq 'list';
    };
    my $client = { server => 's', 'rdisk-user' => 'pve', 'rdisk-secret-file' => 'F' };

    $plugin->alloc_image('s', $client, 1, 'raw', undef, 1024);
    $plugin->volume_snapshot($client, 's', 'vm-1-disk-0', 'a');
    $plugin->volume_snapshot_rollback($client, 's', 'vm-1-disk-0', 'a');
    $plugin->clone_image($client, 's', 'vm-1-disk-0', 2, 'a');
    $plugin->volume_snapshot_delete($client, 's', 'vm-1-disk-0', 'a');
    $plugin->free_image('s', $client, 'vm-1-disk-0');
    my $as = '--user pve --secret-file F';
    is_deeply(\@calls, [
            "rdisk list rdma://s/ -o json $as",
            "rdisk create rdma://s/vm-1-disk-1 1024KiB $as",
            "rdisk snapshot create rdma://s/vm-1-disk-0\@a $as",
            "rdisk snapshot revert rdma://s/vm-1-disk-0\@a $as",
            "rdisk list rdma://s/ -o json $as",
            "rdisk clone rdma://s/vm-1-disk-0\@a vm-2-disk-0 $as",
            "rdisk snapshot delete rdma://s/vm-1-disk-0\@a $as",
            "rdisk delete rdma://s/vm-1-disk-0 $as",
        ], 'disks, snapshots and clones are commands of rdisk');
}

# ---- With a server

if (my $server = $ENV{RDISK_SERVER}) {
    my $fast = { server => $server, 'rdisk-options' => '' };
    my $cache = {};

    is($plugin->alloc_image('s', $fast, 100, 'raw', undef, 4096),
        'vm-100-disk-0', 'the first disk of a guest');
    is($plugin->alloc_image('s', $fast, 100, 'raw', undef, 8192),
        'vm-100-disk-1', 'the second one');
    is($plugin->alloc_image('s', $fast, 200, 'raw', 'vm-200-cloudinit', 4096),
        'vm-200-cloudinit', 'one of another guest');
    dies_with(sub {
            $plugin->alloc_image('s', $fast, 100, 'raw', 'vm-100-disk-0', 4);
        }, qr/already exists/, 'a disk that exists is not replaced');
    is_deeply([map { "$_->{volid} $_->{size}" }
            @{ $plugin->list_images('s', $fast, 100, undef, $cache) }],
        ['s:vm-100-disk-0 4194304', 's:vm-100-disk-1 8388608'],
        "a guest's disks are listed");
    is(scalar @{ $plugin->list_images('s', $fast, undef, ['s:vm-200-cloudinit'],
                $cache) }, 1, 'the disks of a list are listed');
    is_deeply([$plugin->status('s', $fast, {})], [16777216, 0, 16777216, 1],
        'what the disks take up');
    is(scalar $plugin->volume_size_info($fast, 's', 'vm-100-disk-1'), 8388608,
        'the size of a disk');
    ok($plugin->volume_resize($fast, 's', 'vm-100-disk-1', 16777216, 0),
        'a disk is made larger');
    is(scalar $plugin->volume_size_info($fast, 's', 'vm-100-disk-1'), 16777216,
        'and is');
    if ($ENV{RDISK_SNAPSHOTS}) {
        $plugin->volume_snapshot($fast, 's', 'vm-100-disk-1', 'before');
        is($plugin->clone_image($fast, 's', 'vm-100-disk-1', 300, 'before'),
            'vm-300-disk-0', 'a clone of a snapshot is of another guest');
        is(scalar $plugin->volume_size_info($fast, 's', 'vm-300-disk-0'),
            16777216, 'and as large');
        $plugin->volume_snapshot_rollback($fast, 's', 'vm-100-disk-1', 'before');
        dies_with(sub { $plugin->free_image('s', $fast, 'vm-100-disk-1') },
            qr/snapshot/, 'a disk with snapshots is not freed');
        $plugin->volume_snapshot_delete($fast, 's', 'vm-100-disk-1', 'before');
        $plugin->free_image('s', $fast, 'vm-300-disk-0');
    }
    $plugin->free_image('s', $fast, $_)
        for qw(vm-100-disk-0 vm-100-disk-1 vm-200-cloudinit);
    is_deeply($plugin->list_images('s', $fast, undef, undef, {}), [],
        'disks that are freed are gone');
    dies_with(sub { $plugin->free_image('s', $fast, 'vm-100-disk-0') },
        qr/no volume/, 'what is not there is not freed');
    dies_with(sub {
            $plugin->activate_storage('s', { server => '10.9.0.1:1' }, {});
        }, qr/10\.9\.0\.1:1/, 'a server that does not answer is an error');
}

done_testing();
