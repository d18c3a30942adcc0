package Amid::Gap;
use v5.36;

use overload '""' => sub ($self, @) { $self->_in_words }, fallback => 1;

=head1 NAME

Amid::Gap - events that this subscriber did not get

=head1 DESCRIPTION

After a gap, what the program knows of the PBX may be wrong: ask again. As a string, a gap says in words what is missing.

=over

=item server, epoch

Whose events are missing, and of which event session.

=item after, until

They lie behind number C<after> and not behind number C<until>, which is undef when the epoch ended.

=item missed

How many; undef when it cannot be known because the epoch ended.

=item event

Their name, when only some names are subscribed.

=back

=cut

sub server ($self) { return $self->{server} }
sub epoch ($self)  { return $self->{epoch} }
sub after ($self)  { return $self->{after} }
sub until ($self)  { return $self->{until} }
sub missed ($self) { return $self->{missed} }
sub event ($self)  { return $self->{event} }

# known: server, epoch and after, and any of until, missed and event.
sub new ($class, %known) {
    return bless { until => undef, missed => undef, event => undef, %known }, $class;
}

# The same gap behind another number.
sub behind ($self, $after) {
    return Amid::Gap->new(%$self, after => $after);
}

sub _in_words ($self) {
    my $what = $self->{event} ? "$self->{event} events" : 'events';
    return "$self->{server}: $what may be missing after number $self->{after}: the event session was replaced"
        if !defined $self->{missed};
    return "$self->{server}: $self->{missed} $what missing after number $self->{after}";
}

1;
