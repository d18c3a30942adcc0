package Amid::Gaps;

# The rule for gaps, which knows no socket: which events are new, and what is missing before each event and tick.
#
# `epoch` changes with each session to Asterisk and only grows; `seq` counts a server's events in an epoch; `nth` counts them per
# name, so that a subscriber to some names, who sees holes in `seq` by design, can check too. A tick once a second states the last
# of each.

use v5.36;
use builtin qw(true false);
no warnings 'experimental::builtin';

use Amid::Gap;
use List::Util qw(max min uniq);

use constant TICK => 'amid:tick';

# names: the event names subscribed to, a reference to a list; undef is all of them.
sub new ($class, $names = undef) {
    return bless { names => $names && [ sort { $a cmp $b } uniq(@$names) ], seen => {} }, $class;
}

# Takes an event, the next to come. Returns whether it is new, and the gaps before it. `body` as it was published.
sub event ($self, $body) {
    my $seen = $self->{seen}{ $body->{server} } //= _first($body);
    return false if !$self->_is_fresh($seen, $body);
    my @gaps = $self->_before_event($seen, $body);
    $seen = $self->{seen}{ $body->{server} } = _begun($body->{epoch}) if $body->{epoch} != $seen->{epoch};
    $seen->{seq} = max($seen->{seq}, $body->{seq});
    $seen->{seqs}{ $body->{event} } = $body->{seq};
    $seen->{nths}{ $body->{event} } = $body->{nth};
    return true, @gaps;
}

# Takes a tick, and returns the gaps before it: everything up to its `seq` has been published.
sub tick ($self, $body) {
    my $seen = $self->{seen}{ $body->{server} };
    return if $seen && _is_old($seen, $body);
    my @gaps = $self->before($body);
    $self->{seen}{ $body->{server} } = _counted($body);
    return @gaps;
}

# The gaps that an event or a tick shows when it is the next to be taken; takes nothing. For a subscriber that fetches what it
# missed before it goes on.
sub before ($self, $body) {
    my $seen = $self->{seen}{ $body->{server} };
    return if !$seen;
    if ($body->{event} eq TICK) {
        return _is_old($seen, $body) ? () : $self->_before_tick($seen, $body);
    }
    return $self->_is_fresh($seen, $body) ? $self->_before_event($seen, $body) : ();
}

# With names only, the gap from where nothing of any name is missing: what was lost of the others lies there too.
sub widened ($self, $gap) {
    my $seen = $self->{seen}{ $gap->server };
    return $gap if !$self->{names} || !$seen || $seen->{epoch} != $gap->epoch;
    return $gap->behind(min(map { _after($seen, $_) } $self->{names}->@*));
}

# ── what is remembered of a server ──
#
# epoch, seq: the last ones. nths: the last `nth` of each name. whole: the count of every name is known, from a tick or because the
# epoch began before our eyes. base: the number at which it was. seqs: the last number of each name since.

# The first event of a server is taken as if the number before it had been seen.
sub _first ($body) { return _seen($body->{epoch}, $body->{seq} - 1, false, {}) }

# An epoch that began before our eyes: nothing of it has been seen, and all of it counts.
sub _begun ($epoch) { return _seen($epoch, 0, true, {}) }

# A tick knows it all.
sub _counted ($tick) { return _seen($tick->{epoch}, $tick->{seq}, true, { $tick->{counts}->%* }) }

sub _seen ($epoch, $seq, $whole, $nths) {
    return { epoch => $epoch, seq => $seq, nths => $nths, whole => $whole, base => $seq, seqs => {} };
}

# Behind which number the next event of a name comes; those of other names may have come since.
sub _after ($seen, $name) { return $seen->{seqs}{$name} // $seen->{base} }

# ── the rule ──

sub _is_old ($seen, $tick) {
    return ($tick->{epoch} <=> $seen->{epoch} || $tick->{seq} <=> $seen->{seq}) < 0;
}

# With names only, each name is a stream of its own: of one name a lost event may be fetched when another's has come.
sub _is_fresh ($self, $seen, $body) {
    return $body->{epoch} > $seen->{epoch} if $body->{epoch} != $seen->{epoch};
    return $body->{seq} > ($self->{names} ? _after($seen, $body->{event}) : $seen->{seq});
}

sub _before_event ($self, $seen, $body) {
    return $self->_over_epochs('_before_event', $seen, $body) if $body->{epoch} != $seen->{epoch};
    my $until = $body->{seq} - 1;
    return _gap_in_all($seen, $body, $until) if !$self->{names};
    my $last = $seen->{nths}{ $body->{event} } // ($seen->{whole} ? 0 : $body->{nth} - 1);
    return _gap_in_one($seen, $body, $until, $body->{event}, $body->{nth} - 1 - $last);
}

sub _before_tick ($self, $seen, $body) {
    return $self->_over_epochs('_before_tick', $seen, $body) if $body->{epoch} != $seen->{epoch};
    my $until = $body->{seq};
    return _gap_in_all($seen, $body, $until) if !$self->{names};
    return map { _gap_in_one($seen, $body, $until, $_, _uncounted($seen, $body, $_)) } $self->{names}->@*;
}

# What the old epoch may have had, of which nobody knows, and what is missing of the new one.
sub _over_epochs ($self, $rule, $seen, $body) {
    my $ended = Amid::Gap->new(server => $body->{server}, epoch => $seen->{epoch}, after => $seen->{seq});
    return $ended, $self->$rule(_begun($body->{epoch}), $body);
}

# How many events of a name a tick counts that have not come.
sub _uncounted ($seen, $tick, $name) {
    my $count = $tick->{counts}{$name} // 0;
    return $count - ($seen->{nths}{$name} // ($seen->{whole} ? 0 : $count));
}

sub _gap_in_all ($seen, $body, $until) {
    return _gap($seen, $body, after => $seen->{seq}, until => $until, missed => $until - $seen->{seq});
}

sub _gap_in_one ($seen, $body, $until, $name, $missed) {
    return _gap($seen, $body, after => _after($seen, $name), until => $until, missed => $missed, event => $name);
}

# A gap with these numbers, if anything is missing.
sub _gap ($seen, $body, %numbers) {
    return if $numbers{missed} <= 0;
    return Amid::Gap->new(server => $body->{server}, epoch => $seen->{epoch}, %numbers);
}

1;
