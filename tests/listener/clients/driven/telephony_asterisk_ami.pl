# Telephony::Asterisk::AMI: reads events only while it waits for an answer, and takes one with the ActionID of its action for the
# answer (`action`), so its ActionIDs are none of the other clients'.
use strict;
use warnings;
use Telephony::Asterisk::AMI;

my ($host, $port, $username, $secret) = @ARGV;
my $name = $ENV{AMI_EVENT};
my $ami = Telephony::Asterisk::AMI->new(
    Host => $host, Port => $port, Username => $username, Secret => $secret, ActionID => 1_000_000,
    Event_Callback => sub {
        my ($event) = @_;
        print "event $event->{Number}\n" if $event->{Event} eq "UserEvent" and $event->{UserEvent} eq $name;
    },
);
$| = 1;
$ami->connect or die $ami->error;
print "ready\n";
while (my $line = <STDIN>) {
    my ($command, $value) = split " ", $line;
    my %actions = (
        event => {Action => "UserEvent", UserEvent => $name, Number => $value},
        mask => {Action => "Events", EventMask => $value},
        ping => {Action => "Ping"},
    );
    print "answer ", $ami->action($actions{$command})->{Response}, "\n";
}
$ami->disconnect;
