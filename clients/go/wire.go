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
	switch of := reflect.ValueOf(value); {
	case of.Kind() == reflect.String && !utf8.ValidString(of.String()):
		return to.EncodeBytes([]byte(of.String()))
	case of.Kind() == reflect.Map:
		err := to.EncodeMapLen(of.Len())
		for each := of.MapRange(); err == nil && each.Next(); {
			if err = encode(to, each.Key().Interface()); err == nil {
				err = encode(to, each.Value().Interface())
			}
		}
		return err
	case of.Kind() == reflect.Slice && of.Type().Elem().Kind() != reflect.Uint8:
		err := to.EncodeArrayLen(of.Len())
		for n := 0; err == nil && n < of.Len(); n++ {
			err = encode(to, of.Index(n).Interface())
		}
		return err
	}
	return to.Encode(value)
}

// Unpack returns the value in MessagePack bytes; maps are Map, lists []any, and an integer has the type that its size needs: see Int.
func Unpack(data []byte) (any, error) {
	return msgpack.NewDecoder(bytes.NewReader(data)).DecodeInterface()
}

// as is the value if it has this type, or the zero value of the type.
func as[T any](value any) T {
	found, _ := value.(T)
	return found
}

// maps are the maps of a list.
func maps(value any) (found []Map) {
	for _, one := range as[[]any](value) {
		found = append(found, as[Map](one))
	}
	return found
}

// Int is an integer of any type, or 0 for anything else.
func Int(value any) int64 {
	if found := reflect.ValueOf(value); found.CanInt() {
		return found.Int()
	} else if found.CanUint() {
		return int64(found.Uint())
	}
	return 0
}

// set returns params without those that are not set.
func set(params Map) Map {
	for name, value := range params {
		if value == nil || reflect.ValueOf(value).IsZero() {
			delete(params, name)
		}
	}
	return params
}
