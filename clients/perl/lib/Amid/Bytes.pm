package Amid::Bytes;
use v5.36;

use Carp qw(croak);
use Encode ();

use overload '""' => sub ($self, @) { $self->as_text }, fallback => 1;

=head1 NAME

Amid::Bytes - a header's name or value that is not UTF-8

=head1 SYNOPSIS

    $amid->action('Setvar', { Variable => 'NAME', Value => Amid::Bytes->new("Gr\xfc\xdfe") });
    my $value = $event->fields->{Name};
    $value = Encode::decode('ISO-8859-1', $value->octets) if $value isa Amid::Bytes;
    my $odd_name = $event->fields->{ Amid::Bytes->new("H\xf6he") };

=head1 DESCRIPTION

Text is an ordinary Perl string of characters, never of UTF-8 bytes: what comes is decoded, and what you give is encoded. A
Perl string cannot tell whether it is text or bytes, so bytes are objects of this class. The key of a hash cannot be an object;
there, and as a string, bytes are text in which each byte over 127 is the lone surrogate U+DC80 to U+DCFF. Such text given to
the client means the same bytes again.

=head2 new($octets)

=cut

sub new ($class, $octets) {
    utf8::downgrade($octets, 1) or croak 'a character over 255 is no byte';
    return bless \$octets, $class;
}

=head2 from_text($text)

The bytes that text with lone surrogates means: each of those its byte, every other character in UTF-8.

=cut

sub from_text ($class, $text) {
    my $octets = join '', map { _octets($_) } split /([\x{DC80}-\x{DCFF}])/, $text;
    return $class->new($octets);
}

sub _octets ($text) {
    return in_text($text) ? chr(ord($text) - 0xDC00) : utf8($text);
}

# Text in UTF-8. Unlike utf8::encode this dies of half a surrogate pair and of what is beyond Unicode.
sub utf8 ($text) {
    my $octets = eval { Encode::encode('UTF-8', $text, Encode::FB_CROAK | Encode::LEAVE_SRC) };
    return $octets // die "text has a character that is not in Unicode\n";
}

=head2 octets

The bytes themselves, a string of characters 0 to 255.

=cut

sub octets ($self) { return $$self }

=head2 as_text

The text that stands for them as the key of a hash.

=cut

sub as_text ($self) { return $$self =~ s/([\x80-\xFF])/chr(0xDC00 + ord $1)/ger }

=head2 in_text($text)

A function: whether a text has lone surrogates that mean bytes.

=cut

sub in_text ($text) { return $text =~ /[\x{DC80}-\x{DCFF}]/ }

1;
