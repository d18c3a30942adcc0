package Amid::Events;
use v5.36;
use feature 'try';
no warnings 'experimental::try';

use Amid::Error;
use Amid::Feed;
use Amid::Socket qw(now);
use List::Util qw(min);
use Time::HiRes qw(sleep);

use constant {
    SETTLE  => 2,    # seconds to wait for the first tick of each server that is up
    WAKE    => 1,    # seconds that one wait for events may last before the clock is looked at for ticks that do not come
    TIMEOUT => 5,    # seconds that fetching one page of what was lost may take
};

=head1 NAME

Amid::Events - the events of a PBX as they come, for ever

=head1 SYNOPSIS

    my $events = $amid->events(names => ['Newchannel', 'Hangup']);
    while (my $item = $events->next) {
        if ($item isa Amid::Gap) { warn "$item\n" }
        else                     { say $item->event, ' ', $item->fields->{Channel} }
    }

=head1 DESCRIPTION

Made by C<events> of L<Amid>; the subscription is in effect then. When the daemon or a reader is replaced, it reconnects by itself,
and the end of the old epoch shows as a gap. What was lost because this program did not read in time is fetched once more, in its
place. Loss is never silent: what the daemon no longer holds is an L<Amid::Gap> in its place. With names, each name's events are in
order; a lost one may come after a later one of another name. A server that does not tick for 5 s is warned of.

=cut

# client: the Amid that made it, for `replay`. context: a ZMQ::FFI.
sub new ($class, $client, $context, $feed) {
    my $socket = Amid::Socket->subscriber($context, [ $feed->endpoints ], [ $feed->topics ]);
    my $self   = bless { client => $client, feed => $feed, socket => $socket }, $class;
    $self->_settle;
    return $self;
}

=head2 next($timeout)

The next L<Amid::Event> or L<Amid::Gap>; undef when the stream is closed. Waits for ever, or C<$timeout> seconds: then it dies
with an L<Amid::Error> of kind C<timeout>, the stream stays open, and C<next> may be called again.

=cut

sub next ($self, $timeout = undef) {
    my $deadline = defined $timeout ? now() + $timeout : undef;
    while ($self->{socket}) {
        my $item = $self->{feed}->next;
        return $item if $item;
        my $left = defined $deadline ? $deadline - now() : undef;
        _throw_timeout($timeout) if defined $left && $left <= 0;
        $self->{feed}->ask ? $self->_fetch($left // TIMEOUT) : $self->_receive($left // WAKE);
    }
    return;
}

=head2 missed, gaps, replayed

How many events are known to be missing; how many gaps there were, of some of which nobody knows the size; and how many events
were lost on the way and fetched once more.

=cut

sub missed ($self)   { return $self->{feed}->missed }
sub gaps ($self)     { return $self->{feed}->gaps }
sub replayed ($self) { return $self->{feed}->replayed }

=head2 close

Ends the stream. So does forgetting it.

=cut

sub close ($self) {
    delete $self->{socket};
    return;
}

sub _settle ($self) {
    my $end = now() + SETTLE;
    while (!$self->{feed}->is_settled) {
        my $left = $end - now();
        return if $left <= 0;
        $self->_receive($left);
    }
    return;
}

sub _receive ($self, $seconds) {
    my $body = $self->{socket}->receive(min($seconds, WAKE));
    $self->{feed}->take($body, now()) if defined $body;
    $self->{feed}->watch(now());
    return;
}

# Asks once for what is missing. `left`: the seconds that `next` may still take.
sub _fetch ($self, $left) {
    my $limit = min($left, TIMEOUT);
    sleep min($self->{feed}->pause, $limit);
    my $page;
    try {
        $page = $self->{client}->call('replay', { $self->{feed}->ask->%*, timeout => $limit }, $limit);
    }
    catch ($error) {
        die $error unless $error isa Amid::Error;
        return $self->_refused($error, $limit);
    }
    $self->{feed}->fetched($page);
    return;
}

# What the caller's own limit cut short is asked again.
sub _refused ($self, $error, $limit) {
    my $is_cut_short = $limit < TIMEOUT && $error->kind =~ /\A(?:timeout|unreachable)\z/;
    $self->{feed}->refused($error) if !$is_cut_short;
    return;
}

sub _throw_timeout ($timeout) {
    Amid::Error->throw(kind => 'timeout', message => "no event came within $timeout s; the stream is still open");
}

1;
