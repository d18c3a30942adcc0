package amid

import (
	"bytes"
	"reflect"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// Map is a map of the wire, such as a packet: header name to text, or to a list of texts for a header that is repeated. Text is
// a string; a value that is not UTF-8 is a []byte, and such a name a string of its bytes. Both go out as they came.
type Map = map[string]any

// Pack returns a value in MessagePack: nil, a bool, number, string, []byte, a slice of them, or a map of them by name.
func Pack(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := msgpack.NewEncoder(&out)
	encoder.UseCompactInts(true)
	err := encode(encoder, value)
	return out.Bytes(), err
}

func encode(to *msgpack.Encoder, value any) error {
	switch of := reflect.ValueOf(value); of.Kind() {
	case reflect.String:
		if !utf8.ValidString(of.String()) {
			return to.EncodeBytes([]byte(of.String()))
		}
	case reflect.Map:
		err := to.EncodeMapLen(of.Len())
		for each := of.MapRange(); err == nil && each.Next(); {
			if err = encode(to, each.Key().Interface()); err == nil {
				err = encode(to, each.Value().Interface())
			}
		}
		return err
	case reflect.Slice:
		if raw, ok := value.([]byte); ok {
			return to.EncodeBytes(raw)
		}
		err := to.EncodeArrayLen(of.Len())
		for n := 0; err == nil && n < of.Len(); n++ {
			err = encode(to, of.Index(n).Interface())
		}
		return err
	}
	return to.Encode(value)
}

// Unpack returns the value in MessagePack bytes; maps are Map, lists []any, and an integer has the type that its size needs.
func Unpack(data []byte) (any, error) {
	return msgpack.NewDecoder(bytes.NewReader(data)).DecodeInterface()
}

// text is a string, or "" for anything else.
func text(value any) string {
	found, _ := value.(string)
	return found
}

// integer is a number without a fraction, or 0 for anything else.
func integer(value any) int64 {
	if found := reflect.ValueOf(value); found.CanInt() {
		return found.Int()
	} else if found.CanUint() {
		return int64(found.Uint())
	}
	return 0
}
