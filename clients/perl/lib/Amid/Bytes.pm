package Amid::Bytes;
use v5.36;

use Carp qw(croak);
use Encode ();

use overload '""' => sub ($self, @) { $$self =~ s/([\x80-\xFF])/chr(0xDC00 + ord $1)/ger }, fallback => 1;

=head1 NAME

Amid::Bytes - a header's name or value that is not UTF-8

=head1 DESCRIPTION

Text is an ordinary Perl string of characters. A Perl string cannot tell whether it is text or bytes, so bytes are objects of this
class: C<< Amid::Bytes->new("Gr\xfc\xdfe") >>. As the key of a hash, and as a string, they are text in which each byte over 127 is
the lone surrogate U+DC80 to U+DCFF. Such text given to the client means the same bytes again. C<octets> gives the bytes themselves,
a string of characters 0 to 255.

=cut

sub new ($class, $octets) {
    utf8::downgrade($octets, 1) or croak 'a character over 255 is no byte';
    return bless \$octets, $class;
}

sub octets ($self) { return $$self }

# The bytes that text with lone surrogates means: each of those its byte, every other character in UTF-8.
sub from_text ($class, $text) {
    return $class->new(join q{}, map { in_text($_) ? chr(ord($_) - 0xDC00) : utf8($_) } split /([\x{DC80}-\x{DCFF}])/, $text);
}

# Whether a text has lone surrogates that mean bytes.
sub in_text ($text) { return $text =~ /[\x{DC80}-\x{DCFF}]/ }

# Text in UTF-8. Unlike utf8::encode this dies of half a surrogate pair and of what is beyond Unicode.
sub utf8 ($text) {
    my $octets = eval { Encode::encode('UTF-8', $text, Encode::FB_CROAK | Encode::LEAVE_SRC) };
    return $octets // die "text has a character that is not in Unicode\n";
}

1;
