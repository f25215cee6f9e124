# SPDX-License-Identifier: BSD-3-Clause
#
# Proxmox VE's storage plugin for volumes of an rdiskd on this machine, or of one
# that another machine of the cluster has. In /etc/pve/storage.cfg:
#
#   rdisk: fast
#       server storage1.example:7471
#       rdisk-user pve
#       rdisk-secret-file /etc/pve/priv/rdisk-pve.secret
#       content images
#
# A volume is VMID's if its name is vm-VMID-disk-N, as with the other plugins.
# The disk is opened by a QEMU that has rdisk's driver.
package PVE::Storage::Custom::RdiskPlugin;

use strict;
use warnings;

use JSON;
use PVE::Tools;
use PVE::Storage::Plugin;
use base qw(PVE::Storage::Plugin);

my $NAME = qr/(?:vm|base)-(\d+)-[A-Za-z0-9_.+-]+/;

# ---- What it is

# The version of the interface that this was written for; an older Proxmox VE
# has fewer methods, and calls none that are missing here.
my $API_VERSION = 10;

sub api
{
    my $theirs = eval { PVE::Storage::APIVER() } // $API_VERSION;
    return $theirs < $API_VERSION ? $theirs : $API_VERSION;
}

sub type { return 'rdisk'; }

sub plugindata
{
    return {
        content => [{ images => 1, none => 1 }, { images => 1 }],
        format  => [{ raw => 1 }, 'raw'],
    };
}

# "server" and "content" are properties of Proxmox VE's own.
sub properties
{
    return {
        'rdisk-user' => {
            description => "The client's name in the server's configuration",
            type        => 'string',
            pattern     => '[A-Za-z0-9._+@,][A-Za-z0-9._+@,-]*',
        },
        'rdisk-secret-file' => {
            description => "The file with that client's secret",
            type        => 'string',
        },
        'rdisk-options' => {
            description => "Options of the URI, as in rdisk(1)",
            type        => 'string',
        },
    };
}

sub options
{
    return {
        server              => { fixed => 1 },
        'rdisk-user'        => { optional => 1 },
        'rdisk-secret-file' => { optional => 1 },
        'rdisk-options'     => { optional => 1 },
        content             => { optional => 1 },
        nodes               => { optional => 1 },
        disable             => { optional => 1 },
        shared              => { optional => 1 },
    };
}

# ---- The command line

sub uri
{
    my ($scfg, $name) = @_;
    my $server = $scfg->{server};

    $server = "[$server]" if $server =~ /:.*:/ && $server !~ /^\[/;
    return "rdma://$server/" . ($name // '');
}

# What `rdisk WORDS` prints; it dies with rdisk's own message.
sub rdisk
{
    my ($scfg, @words) = @_;
    my ($out, $err) = ('', '');
    my @client;

    if ($scfg->{'rdisk-user'}) {
        @client = ('--user', $scfg->{'rdisk-user'},
            '--secret-file', $scfg->{'rdisk-secret-file'});
    }
    eval {
        PVE::Tools::run_command(['rdisk', @words, @client],
            outfunc => sub { $out .= "$_[0]\n" },
            errfunc => sub { $err .= "$_[0]\n" },
            timeout => 60);
    };
    if (my $why = $@) {
        chomp $err;
        die(($err || $why) . "\n");
    }
    return $out;
}

# The volumes that this client may open: name => size.
sub volumes
{
    my ($scfg) = @_;
    my $reply = decode_json(rdisk($scfg, 'list', uri($scfg), '-o', 'json'));

    return { map { $_->{name} => $_->{size} } @{ $reply->{volumes} } };
}

# ---- Names

sub parse_volname
{
    my ($class, $volname) = @_;

    if ($volname =~ m/\A$NAME\z/) {
        my $base = $volname =~ m/^base-/ ? 1 : 0;
        return ('images', $volname, $1, undef, undef, $base, 'raw');
    }
    die "unable to parse rdisk volume name '$volname'\n";
}

sub filesystem_path
{
    my ($class, $scfg, $volname, $snapname) = @_;
    my ($kind, $name, $vmid) = $class->parse_volname($volname);
    my $path = uri($scfg, $name . (defined($snapname) ? "\@$snapname" : ''));
    my $options = $scfg->{'rdisk-options'} // 'reconnect-delay=300';

    $path .= "?$options" if $options ne '';
    return wantarray ? ($path, $vmid, $kind) : $path;
}

sub path
{
    my ($class, $scfg, $volname, $storeid, $snapname) = @_;

    return $class->filesystem_path($scfg, $volname, $snapname);
}

# ---- Volumes

# The first number that no disk of the guest has.
sub next_name
{
    my ($scfg, $vmid) = @_;
    my $there = volumes($scfg);
    my $number = 0;

    $number++ while exists $there->{"vm-$vmid-disk-$number"};
    return "vm-$vmid-disk-$number";
}

sub alloc_image
{
    my ($class, $storeid, $scfg, $vmid, $format, $name, $size) = @_;

    die "unsupported format '$format'\n" if $format ne 'raw';
    die "illegal name '$name': use vm-$vmid-…\n"
        if defined($name) && $name !~ m/^(?:vm|base)-\Q$vmid\E-/;
    $name //= next_name($scfg, $vmid);
    $class->parse_volname($name);
    # Exclusive: of two that took the same number one fails. Size is in KiB.
    rdisk($scfg, 'create', uri($scfg, $name), "${size}KiB");
    return $name;
}

sub free_image
{
    my ($class, $storeid, $scfg, $volname, $isBase) = @_;
    my (undef, $name) = $class->parse_volname($volname);

    rdisk($scfg, 'delete', uri($scfg, $name));
    return undef;
}

sub list_images
{
    my ($class, $storeid, $scfg, $vmid, $vollist, $cache) = @_;
    my $there = $cache->{rdisk}->{$storeid} //= volumes($scfg);
    my @found;

    for my $name (sort keys %$there) {
        my $volid = "$storeid:$name";
        next if $name !~ m/\A$NAME\z/;
        my $owner = $1;

        if ($vollist) {
            next if !grep { $_ eq $volid } @$vollist;
        } else {
            next if defined($vmid) && $owner ne $vmid;
        }
        push @found, {
            volid  => $volid,
            format => 'raw',
            size   => $there->{$name},
            vmid   => $owner,
        };
    }
    return \@found;
}

sub volume_size_info
{
    my ($class, $scfg, $storeid, $volname, $timeout) = @_;
    my (undef, $name) = $class->parse_volname($volname);
    my $map = decode_json(rdisk($scfg, 'map', uri($scfg, $name), '-o', 'json'));

    return wantarray ? ($map->{size}, 'raw', $map->{allocated}, undef)
        : $map->{size};
}

sub volume_resize
{
    my ($class, $scfg, $storeid, $volname, $size, $running) = @_;
    my (undef, $name) = $class->parse_volname($volname);

    # Of a running guest QEMU resizes it, over its own connection.
    rdisk($scfg, 'resize', uri($scfg, $name), $size) if !$running;
    return 1;
}

# ---- Snapshots, and clones, which share what they have in common

sub snapshot
{
    my ($class, $scfg, $verb, $volname, $snap) = @_;
    my (undef, $name) = $class->parse_volname($volname);

    rdisk($scfg, 'snapshot', $verb, uri($scfg, "$name\@$snap"));
    return undef;
}

sub volume_snapshot
{
    my ($class, $scfg, $storeid, $volname, $snap) = @_;
    return $class->snapshot($scfg, 'create', $volname, $snap);
}

# The guest is stopped then: who has the volume open would not notice.
sub volume_snapshot_rollback
{
    my ($class, $scfg, $storeid, $volname, $snap) = @_;
    return $class->snapshot($scfg, 'revert', $volname, $snap);
}

sub volume_rollback_is_possible { return 1; }

sub volume_snapshot_delete
{
    my ($class, $scfg, $storeid, $volname, $snap, $running) = @_;
    return $class->snapshot($scfg, 'delete', $volname, $snap);
}

sub clone_image
{
    my ($class, $scfg, $storeid, $volname, $vmid, $snap) = @_;
    my (undef, $name) = $class->parse_volname($volname);
    my $new = next_name($scfg, $vmid);

    $name .= "\@$snap" if defined($snap) && $snap ne '';
    rdisk($scfg, 'clone', uri($scfg, $name), $new);
    return $new;
}

sub volume_has_feature
{
    my ($class, $scfg, $feature, $storeid, $volname, $snapname, $running) = @_;
    my %features = map { $_ => 1 } qw(snapshot clone copy sparseinit);

    return $features{$feature};
}

# A clone depends on nothing, so a template is any volume.
sub create_base { die "rdisk: clone the volume itself; there are no templates\n"; }
sub rename_volume { die "rdisk: volumes are not renamed\n"; }

# ---- The storage

# A client is not told how much space the pool has: what its volumes take up.
sub status
{
    my ($class, $storeid, $scfg, $cache) = @_;
    my $used = 0;
    my $there = $cache->{rdisk}->{$storeid} //= volumes($scfg);

    $used += $_ for values %$there;
    return ($used, 0, $used, 1);
}

sub activate_storage
{
    my ($class, $storeid, $scfg, $cache) = @_;

    $cache->{rdisk}->{$storeid} = volumes($scfg);
    return 1;
}

sub deactivate_storage { return 1; }
sub activate_volume { return 1; }
sub deactivate_volume { return 1; }

1;
