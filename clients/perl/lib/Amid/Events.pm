package Amid::Events;
use v5.36;

use Amid::Error;
use Amid::Socket qw(now);
use List::Util qw(max min);

use constant {
    PULL_TIMEOUT  => 5,      # seconds that one request waits for an event in the daemon
    STATE_TIMEOUT => 10,     # seconds for a state: at the first request, the daemon loads the lists of a PBX
    MARGIN        => 1,      # seconds that an answer may come later
    RETRY_DELAY   => 0.5,    # seconds until a request that failed is made again
};

my %TRANSIENT = map { $_ => 1 } qw(unreachable not_connected busy timeout connection_lost);

=head1 NAME

Amid::Events - the events of a PBX as they come, for ever

=head1 DESCRIPTION

Made by C<events> of L<Amid>. Each event comes once, and in order for each server, through every restart of the daemon; what it no
longer holds is a gap in its place.

An Amid::Event has C<server>; C<epoch> and C<seq>, the event session and the event's number in it; C<prev>, the number of the event
of the same name before it in the epoch, 0 for none; C<time>, when the daemon read it, in seconds since 1970; C<event>, its name;
and C<fields>, a map from header name to value: text, L<Amid::Bytes> when it is not UTF-8, or a list when the header is repeated.

An Amid::Gap says, also as a string, what is missing: of C<server> and C<epoch>, the C<missed> events behind number C<after>; C<missed>
is undef when the epoch ended, since it cannot be known then. What the program knows of the PBX may be wrong now: ask again.

An Amid::Change, of C<changes>, is of the thing C<id> of a C<kind>: C<set> has the members with new values, or it is C<gone>. The
first one of a server, and the first one after a loss, is of the kind C<reset> and has the whole C<state> instead.

=head2 next($timeout)

The next Amid::Event or Amid::Gap; undef when the stream is closed. Waits for ever, or C<$timeout> seconds: then it dies with an
L<Amid::Error> of kind C<timeout>, the stream stays open, and C<next> may be called again.

=head2 missed, close

How many events are known to be missing. Ends the stream; so does forgetting it.

=cut

# Each position has the server; `after`, its cursor; `id`, of the open request; and `due`, when to ask again, or until when the open
# request may take.
sub new ($class, $client, $wanted, @servers) {
    my @positions = map { { server => $_, due => now() } } @servers;
    my $self = bless { client => $client, wanted => $wanted, positions => \@positions, ready => [], missed => 0 }, $class;
    for my $position (@positions) {
        my ($method, $params) = $self->_request($position, 0);
        $self->_take($position, sub { $client->call($method, $params, $params->{timeout}) });
    }
    $self->{socket} = $client->connected;
    return $self;
}

sub next ($self, $timeout = undef) {
    my $end = now() + ($timeout // 'inf');
    while ($self->{socket}) {
        return shift $self->{ready}->@* if $self->{ready}->@*;
        my $message = $self->{socket}->receive(max(0.001, $self->_ask($end) - now()));
        if (defined $message) {
            my $reply = Amid::read_reply($message) // {};
            my ($position) = grep { ($_->{id} // -1) == ($reply->{id} // 0) } $self->{positions}->@*;
            $self->_take($position, sub { Amid::result_of($reply) }) if $position;    # it is late otherwise
            $self->_ask($end);    # the daemon works on the next answer while the program works on this one
        }
        if (!$self->{ready}->@* && now() >= $end) {
            Amid::Error->throw(kind => 'timeout', message => "no event came within $timeout s; the stream is still open");
        }
    }
    return;
}

sub missed ($self) { return $self->{missed} }
sub close ($self)  { delete $self->{socket}; return }

# Keeps a request of each server open. Returns when to look again, `end` at the latest.
sub _ask ($self, $end) {
    for my $position (grep { $_->{due} <= now() } $self->{positions}->@*) {
        my ($method, $params) = $self->_request($position, PULL_TIMEOUT);
        $position->{due} = now() + RETRY_DELAY;
        $position->{id}  = eval { $self->{client}->send_request($self->{socket}, $method, $params, max(0.001, $end - now())) }
            or _pass($@), next;
        $position->{due} = now() + $params->{timeout} + MARGIN;
    }
    return min $end, now() + PULL_TIMEOUT, map { $_->{due} } $self->{positions}->@*;
}

# Takes an answer, or an error that asking again may change; dies of any other one.
sub _take ($self, $position, $answer) {
    delete $position->{id};
    $position->{due} = now() + RETRY_DELAY;
    my $page    = eval { $answer->() } or return _pass($@);
    my $is_lost = exists $page->{missed} && ($page->{missed} // 1) > 0;
    my $before  = $position->{after} // $page;
    @$position{qw(after due)} = ({ %$page{ grep { exists $page->{$_} } qw(epoch seq rev) } }, now());
    $self->{missed} += $page->{missed} // 0;
    if ($self->{wanted}{kinds}) {
        my $changes = $page->{events} // [ { server => $position->{server}, kind => 'reset', state => $page } ];
        push $self->{ready}->@*, map { bless $_, 'Amid::Change' } @$changes if !$is_lost;
        delete $position->{after} if $is_lost;    # the whole state is next
        return;
    }
    my %gap = (server => $position->{server}, epoch => $before->{epoch}, after => $before->{seq}, missed => $page->{missed});
    push $self->{ready}->@*, ($is_lost ? bless \%gap, 'Amid::Gap' : ()), map { bless $_, 'Amid::Event' } $page->{events}->@*;
    return;
}

# Dies of an error that asking again would not change.
sub _pass ($error) { die $error unless $error isa Amid::Error && $TRANSIENT{ $error->kind }; return }

# Method and params of the next request.
sub _request ($self, $position, $wait) {
    my %params = ($self->{wanted}->%*, server => $position->{server}, timeout => $wait);
    return (state => { %params, timeout => STATE_TIMEOUT }) if $params{kinds} && !$position->{after};
    return (events => { %params, after => $position->{after} });
}

Amid::Error::make_readers('Amid::Event',  qw(server epoch seq prev time event fields));
Amid::Error::make_readers('Amid::Change', qw(server epoch seq rev kind id set gone state));
Amid::Error::make_readers('Amid::Gap',    qw(server epoch after missed));

package Amid::Gap {
    use overload '""' => sub ($self, @) {
        my $what = defined $self->{missed} ? "$self->{missed} events are missing" : 'the epoch ended, and events may be missing';
        return "$self->{server}: $what after number $self->{after}";
    }, fallback => 1;
}

1;
