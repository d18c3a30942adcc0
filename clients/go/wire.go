package amid

import (
	"bytes"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// Map is a map of the wire, such as a packet: header name to text, or to a list of texts for a header that is repeated.
//
// Text is a string; a value that is not UTF-8 is a []byte. A name that is not UTF-8 is a string of its bytes. Both go out
// as they came, and so does a string that is not UTF-8.
type Map = map[string]any

const tickName = "amid:tick"

// Pack gives a value in MessagePack: nil, a bool, number, string, []byte, []any, []string or Map.
func Pack(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := msgpack.NewEncoder(&out)
	encoder.UseCompactInts(true)
	err := encode(encoder, value)
	return out.Bytes(), err
}

func encode(to *msgpack.Encoder, value any) error {
	switch value := value.(type) {
	case string:
		return encodeText(to, value)
	case []string:
		return encodeList(to, value)
	case []any:
		return encodeList(to, value)
	case Map:
		return encodeMap(to, value)
	case nil, bool, []byte, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return to.Encode(value)
	}
	return fmt.Errorf("a %T has no place in a request", value)
}

func encodeText(to *msgpack.Encoder, value string) error {
	if utf8.ValidString(value) {
		return to.EncodeString(value)
	}
	return to.EncodeBytes([]byte(value))
}

func encodeList[T any](to *msgpack.Encoder, values []T) error {
	if err := to.EncodeArrayLen(len(values)); err != nil {
		return err
	}
	for _, value := range values {
		if err := encode(to, value); err != nil {
			return err
		}
	}
	return nil
}

func encodeMap(to *msgpack.Encoder, values Map) error {
	if err := to.EncodeMapLen(len(values)); err != nil {
		return err
	}
	for name, value := range values {
		if err := encodeText(to, name); err != nil {
			return err
		}
		if err := encode(to, value); err != nil {
			return err
		}
	}
	return nil
}

// Unpack gives the value in MessagePack bytes; maps are Map, lists []any, and an integer has
// the type that its size needs.
func Unpack(data []byte) (any, error) {
	decoder := msgpack.NewDecoder(bytes.NewReader(data))
	decoder.SetMapDecoder(decodeMap)
	return decoder.DecodeInterface()
}

func decodeMap(from *msgpack.Decoder) (any, error) {
	size, err := from.DecodeMapLen()
	if err != nil || size < 0 {
		return nil, err
	}
	values := make(Map, size)
	for ; size > 0; size-- {
		name, err := from.DecodeInterface()
		if err != nil {
			return nil, err
		}
		if values[keyOf(name)], err = from.DecodeInterface(); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func keyOf(name any) string {
	if raw, ok := name.([]byte); ok {
		return string(raw)
	}
	return text(name)
}

// text is a string, or "" for anything else.
func text(value any) string {
	found, _ := value.(string)
	return found
}

// integer is a number without a fraction, or 0 for anything else.
func integer(value any) int64 {
	switch found := reflect.ValueOf(value); {
	case found.CanInt():
		return found.Int()
	case found.CanUint():
		return int64(found.Uint())
	}
	return 0
}

// number is a number, or 0 for anything else.
func number(value any) float64 {
	if found, ok := value.(float64); ok {
		return found
	}
	return float64(integer(value))
}
