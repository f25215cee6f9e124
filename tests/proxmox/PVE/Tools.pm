# SPDX-License-Identifier: BSD-3-Clause
# What the plugin uses of Proxmox VE's PVE::Tools, as its documentation has it.
package PVE::Tools;
use strict;
use warnings;
use File::Temp;

sub run_command
{
    my ($command, %options) = @_;
    my $errors = File::Temp->new();
    my $pid = open(my $output, '-|') // die "fork: $!\n";

    if (!$pid) {
        open(STDERR, '>', "$errors") or exit 126;
        exec('timeout', $options{timeout} // 60, @$command) or exit 127;
    }
    while (defined(my $line = <$output>)) {
        chomp $line;
        $options{outfunc}->($line) if $options{outfunc};
    }
    close($output);
    my $status = $? >> 8;
    open(my $said, '<', "$errors") or die "$errors: $!\n";
    while (defined(my $line = <$said>)) {
        chomp $line;
        $options{errfunc}->($line) if $options{errfunc};
    }
    die "command '@$command' failed: exit code $status\n" if $status;
    return 0;
}

1;
