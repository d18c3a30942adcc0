# Telephony::Asterisk::AMI: one action after the other. It takes an event with the ActionID of its action for the answer
# (`action`), so its ActionIDs are none of the other client's.
use strict;
use warnings;
use JSON::PP;
use Telephony::Asterisk::AMI;

my ($host, $port, $username, $secret) = @ARGV;
my (@numbers, $originated);
my $ami = Telephony::Asterisk::AMI->new(
    Host => $host, Port => $port, Username => $username, Secret => $secret, ActionID => "$ENV{AMI_EVENT}0",
    Event_Callback => sub {
        my ($event) = @_;
        push @numbers, ["$event->{Number}", $event->{Name}] if $event->{Event} eq "UserEvent" and $event->{UserEvent} eq $ENV{AMI_EVENT};
        $originated = $event->{Response} if $event->{Event} eq "OriginateResponse";
    },
);
$ami->connect or die $ami->error;
my %found = (ping => $ami->action({Action => "Ping"})->{Ping});
$found{command} = $ami->action({Action => "Command", Command => "core show uptime"})->{Response};
$found{hundred} = grep { $ami->action({Action => "Ping"})->{Ping} eq "Pong" } 1 .. 100;
$ami->action({Action => "UserEvent", UserEvent => $ENV{AMI_EVENT}, Number => $_, Name => "Gruesse"}) for 0 .. 19;
$ami->action({Action => "Originate", Channel => 'Local/answer@calls', Application => "Hangup", Async => "true", Variable => ["A=1", "B=2"]});
my $end = time + 15;
$ami->action({Action => "Ping"}) until ($originated and @numbers == 20) or time > $end;
@found{qw(originate events)} = ($originated, \@numbers);
$found{logoff} = $ami->disconnect ? "Goodbye" : $ami->error;
print encode_json(\%found), "\n";
