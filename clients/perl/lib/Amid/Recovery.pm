package Amid::Recovery;

# Which lost events to fetch once more, and when to stop asking; between Amid::Gaps, which sees a loss, and the method `replay`.
#
# A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where the
# daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.

use v5.36;

use List::Util qw(max min);

use constant {
    PAGE  => 1000,   # events asked for at a time
    TRIES => 8,      # how often a page is asked for when it is refused for now; another failure counts for half of them
    PAUSE => 0.5,    # seconds between two such tries
};

# Errors that come at once and may be over in a moment, and those that asking again would not change.
my %FOR_NOW = map { $_ => 1 } qw(not_connected busy unreachable);
my %FINAL   = map { $_ => 1 } qw(gone unknown_server invalid_params unknown_method denied);

# Give it gaps with `begin`; while `ask` is defined, call `replay` with it and give `page` or `refused` what came.
sub new ($class) {
    return bless { ranges => [], pause => 0 }, $class;
}

# The params of `replay` to call it with, or undef.
sub ask ($self) {
    my $range = $self->{ranges}[0] // return;
    return { %$range{qw(server epoch after)}, limit => PAGE };
}

# Seconds to wait before that.
sub pause ($self) { return $self->{pause} }

# Gaps in several names of one epoch are one range, so that their events come in order.
sub begin ($self, @gaps) {
    my $ranges = $self->{ranges};
    for my $gap (@gaps) {
        my $last = $ranges->[-1];
        if ($last && $last->{server} eq $gap->server && $last->{epoch} == $gap->epoch) {
            _widen($last, $gap);
        }
        else {
            push @$ranges, { tries => TRIES, map { $_ => $gap->$_ } qw(server epoch after until) };
        }
    }
    return;
}

# Those events of a page that lie in the range.
sub page ($self, $events, $more) {
    my $range  = $self->{ranges}[0];
    my @wanted = grep { $_->{seq} > $range->{after} && _reaches($range, $_->{seq}) } @$events;
    $range->{after} = $wanted[-1]{seq} if @wanted;
    $self->{pause} = 0;
    my $is_whole = !_reaches($range, $range->{after} + 1);
    shift $self->{ranges}->@* if !$more || !@wanted || $is_whole;
    return @wanted;
}

# `replay` ended with this error.
sub refused ($self, $error) {
    my $range   = $self->{ranges}[0];
    my $for_now = $FOR_NOW{ $error->kind };
    $self->{pause} = $for_now ? PAUSE : 0;
    $range->{tries} -= $for_now ? 1 : TRIES / 2;
    if (_holds_the_end($range, $error->oldest)) {
        $range->{after} = $error->oldest - 1;
        $range->{tries} = TRIES;
    }
    elsif ($FINAL{ $error->kind } || $range->{tries} <= 0) {
        shift $self->{ranges}->@*;
    }
    return;
}

# ── ranges: behind `after` and not behind `until`; undef is to the epoch's end ──

sub _widen ($range, $gap) {
    my $until = $gap->until;
    $range->{after} = min($range->{after}, $gap->after);
    $range->{until} = defined $until && defined $range->{until} ? max($range->{until}, $until) : undef;
    return;
}

sub _reaches ($range, $seq) {
    return !defined $range->{until} || $seq <= $range->{until};
}

# Whether the daemon still has the range from `oldest` on, and nothing before.
sub _holds_the_end ($range, $oldest) {
    return defined $oldest && $oldest > $range->{after} + 1 && _reaches($range, $oldest);
}

1;
