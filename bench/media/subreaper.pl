# Runs a command and adopts what its children leave behind:
#
#   perl subreaper.pl <command> [arguments]
#
# bubblewrap leaves before the decoder that it guards is reaped. Such orphans go
# to the nearest subreaper above, and their CPU with them: into the children's
# times of this process, where cpu.ts reads them.
use strict;
use warnings;
use POSIX ();

my %prctl = (x86_64 => 157, aarch64 => 167);
my $machine = (POSIX::uname())[4];
my $number = $prctl{$machine} or die "subreaper: the number of prctl on $machine is not known\n";
my $PR_SET_CHILD_SUBREAPER = 36;
syscall($number, $PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 or die "subreaper: prctl: $!\n";

my $command = fork // die "subreaper: fork: $!\n";
if ($command == 0) {
  exec { $ARGV[0] } @ARGV or die "subreaper: $ARGV[0]: $!\n";
}
$SIG{$_} = sub { kill $_[0], $command } for qw(INT TERM);
for (;;) {
  my $ended = waitpid(-1, 0);
  next if $ended != $command and ($ended > 0 or $!{EINTR});
  exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
}
