package Amid::Feed;

# What a subscriber does with event messages, without a socket or a clock: it turns them into events and gaps.
#
# What is missing is fetched once more before anything behind it is given out, as far as the daemon still holds it. What cannot be
# had comes as a gap in its place. A server whose ticks stop is reported, so that a daemon that is gone does not look like a quiet
# PBX.

use v5.36;

use Amid::Error;
use Amid::Event;
use Amid::Gaps;
use Amid::MessagePack qw(decode_msgpack);
use Amid::Recovery;
use Encode qw(encode);

use constant QUIET => 5;    # seconds without a tick after which a server is reported as quiet

# listed: what the method `servers` gave. names: the events wanted, all when empty. server: one only, or undef. now: seconds.
#
# While `ask` is defined, events are missing: call `replay` with it and give `fetched` or `refused` what came of it, before the next
# message.
sub new ($class, $listed, $names, $server, $now) {
    my @servers = _chosen($listed, $server);
    return bless {
        servers      => \@servers,
        names        => @$names ? { map { $_ => 1 } @$names } : undef,
        awaited      => { map { $_->{name} => 1 } grep { $_->{state} eq 'up' } @servers },
        heard        => { map { $_->{name} => $now } @servers },
        quiet        => {},
        rule         => Amid::Gaps->new(@$names ? $names : undef),
        inbox        => [],
        recovery     => Amid::Recovery->new,
        is_recovered => 0,
        ready        => [],
        missed       => 0,
        gaps         => 0,
        replayed     => 0,
    }, $class;
}

sub missed ($self)   { return $self->{missed} }
sub gaps ($self)     { return $self->{gaps} }
sub replayed ($self) { return $self->{replayed} }

# Where to subscribe, and to what. Ticks come last: the first tick then shows that all of it is in effect.
sub endpoints ($self) {
    my $socket = $self->{names} ? 'events' : 'stream';
    return map { $_->{$socket} } $self->{servers}->@*;
}

sub topics ($self) {
    my @servers = map { $_->{name} } $self->{servers}->@*;
    my @wanted  = map { $self->_topics_of($_) } @servers;
    return map { encode('UTF-8', $_) } @wanted, map { "tick.$_." } @servers;
}

sub _topics_of ($self, $server) {
    return "stream.$server." if !$self->{names};
    return map { "event.$server.$_." } sort keys $self->{names}->%*;
}

# Whether every server that was up has ticked: whatever it publishes from now on will come.
sub is_settled ($self) { return !$self->{awaited}->%* }

# Takes a message of two frames, topic and body.
sub take ($self, $body, $now) {
    for my $event (decode_msgpack($body)->@*) {
        if ($event->{event} eq Amid::Gaps::TICK) {
            delete $self->{awaited}{ $event->{server} };
            delete $self->{quiet}{ $event->{server} };
        }
        $self->{heard}{ $event->{server} } = $now;
        push $self->{inbox}->@*, $event;
    }
    $self->_advance;
    return;
}

# The params to call `replay` with, or undef; and the seconds to wait before that.
sub ask ($self)   { return $self->{recovery}->ask }
sub pause ($self) { return $self->{recovery}->pause }

# `replay` gave this page.
sub fetched ($self, $page) {
    for my $event ($self->{recovery}->page(@$page{qw(events more)})) {
        $self->{replayed}++ if $self->_event($event);
    }
    $self->_advance;
    return;
}

# `replay` ended with this error.
sub refused ($self, $error) {
    $self->{recovery}->refused($error);
    $self->_advance;
    return;
}

# The next event or gap, or undef.
sub next ($self) { return shift $self->{ready}->@* }

# Says it, once, when a server has not ticked for a while.
sub watch ($self, $now) {
    for my $server (sort keys $self->{heard}->%*) {
        next if $now - $self->{heard}{$server} <= QUIET || $self->{quiet}{$server}++;
        warn "amid: $server: no tick for ", QUIET, " s; its reader or the daemon is down, still waiting\n";
    }
    return;
}

# Takes what came, up to where something is missing that may still be had.
sub _advance ($self) {
    my $inbox = $self->{inbox};
    while (@$inbox && !$self->ask) {
        next if $self->_begin_recovery($inbox->[0]);
        $self->{is_recovered} = 0;
        my $body = shift @$inbox;
        $body->{event} eq Amid::Gaps::TICK ? $self->_tick($body) : $self->_event($body);
    }
    return;
}

# Whether something before this event or tick is to be fetched. It is fetched once: what is missing afterwards is lost.
sub _begin_recovery ($self, $body) {
    return if $self->{is_recovered};
    my @missing = $self->{rule}->before($body);
    return if !@missing;
    $self->{recovery}->begin(map { $self->{rule}->widened($_) } @missing);
    $self->{is_recovered} = 1;
    return 1;
}

sub _tick ($self, $tick) {
    $self->_gap($_) for $self->{rule}->tick($tick);
    return;
}

# Whether it is one that was asked for and is new.
sub _event ($self, $body) {
    return if $self->{names} && !$self->{names}{ $body->{event} };
    my ($is_fresh, @gaps) = $self->{rule}->event($body);
    $self->_gap($_) for @gaps;
    push $self->{ready}->@*, Amid::Event->new($body) if $is_fresh;
    return $is_fresh;
}

sub _gap ($self, $gap) {
    $self->{gaps}++;
    $self->{missed} += $gap->missed // 0;
    push $self->{ready}->@*, $gap;
    return;
}

sub _chosen ($listed, $server) {
    my @chosen = grep { !defined $server || $_->{name} eq $server } @$listed;
    return @chosen if @chosen;
    my $known = join(', ', map { $_->{name} } @$listed) || 'none';
    my $which = $server // 'at all';
    Amid::Error->throw(
        kind    => 'unknown_server',
        server  => $server,
        message => "there is no server $which; the daemon has: $known",
    );
}

1;
