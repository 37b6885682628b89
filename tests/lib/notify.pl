# Stands in for systemd's ear: a datagram socket of that name ("@..." is an abstract one). Writes each message on a line of its own, with
# the lines inside it parted by spaces; "ready" comes first. A line on its stdin comes back when all that was sent before has been
# written. Ends with its stdin.
use strict;
use warnings;
use Socket;
$| = 1;
my $name = shift;
(my $path = $name) =~ s/^@/\0/;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($socket, $name =~ /^@/ ? pack('S a*', AF_UNIX, $path) : sockaddr_un($path)) or die "bind: $!";
print "ready\n";
while (1) {
    my $set = '';
    vec($set, fileno($socket), 1) = 1;
    vec($set, fileno(STDIN), 1) = 1;
    select($set, undef, undef, undef) > 0 or next;
    while (defined recv($socket, my $text, 4096, MSG_DONTWAIT)) {
        $text =~ s/\n/ /g;
        print "$text\n";
    }
    if (vec($set, fileno(STDIN), 1)) {
        sysread(STDIN, my $text, 100) or exit 0;
        print $text;
    }
}
