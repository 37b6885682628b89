# Starts a program as systemd does with a socket unit: perl activate.pl NAMES COMMAND...; a listening socket on loopback for each name
# ("http:admin"), from descriptor 3 on. Their ports go to stderr first. With $KEEPER a process keeps the
# sockets, as systemd does, until it is killed; its pid goes to that file. With $SOCKET_FILE they are one, a unix socket there.
use strict;
use warnings;
use Socket;
use Fcntl;
use POSIX ();
my @names = split /:/, shift;
my @sockets;
my $file = delete $ENV{SOCKET_FILE};
if (defined $file) {
    socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or die $!;
    bind($socket, pack_sockaddr_un($file)) or die $!;
    listen($socket, 128) or die $!;
    push @sockets, $socket;
}
for (defined $file ? () : @names) {
    socket(my $socket, AF_INET, SOCK_STREAM, 0) or die $!;
    bind($socket, sockaddr_in(0, INADDR_LOOPBACK)) or die $!;
    listen($socket, 128) or die $!;
    push @sockets, $socket;
}
if (my $keeper = delete $ENV{KEEPER}) {
    my $pid = fork() // die $!;
    if ($pid == 0) { open(STDERR, '>', '/dev/null'); open(STDOUT, '>', '/dev/null'); sleep 1 while 1 }
    open(my $file, '>', $keeper) or die $!;
    print $file $pid;
    close($file);
}
print STDERR 'ports ' . join(' ', map { (sockaddr_in(getsockname($_)))[0] } @sockets) . "\n" unless defined $file;
# First out of the way, so that no descriptor is overwritten that is still wanted.
my @copies = map { fcntl($_, F_DUPFD, 20) or die $! } @sockets;
POSIX::dup2($copies[$_], 3 + $_) // die $! for 0 .. $#copies;
POSIX::close($_) for @copies;
$ENV{LISTEN_PID} = $ENV{FOREIGN_PID} // $$;
$ENV{LISTEN_FDS} = scalar @names;
$ENV{LISTEN_FDNAMES} = join ':', @names;
exec @ARGV or die $!;
