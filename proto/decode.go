package proto

import "fmt"

// Unmarshaler is any generated message.
type Unmarshaler interface{ Unmarshal([]byte) error }

// Decode fills m from data. Unlike the generated Unmarshal it never panics, whatever data holds.
func Decode(data []byte, m Unmarshaler) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decode %T: %v", m, r)
		}
	}()
	if err := m.Unmarshal(data); err != nil {
		return fmt.Errorf("decode %T: %w", m, err)
	}
	return nil
}

// Marshaler is any generated message.
type Marshaler interface{ Marshal() ([]byte, error) }

// Encode returns m's bytes. It panics if m cannot be encoded, which only a value outside its own
// type's range (a time before year 1) can cause: a fault in the program, not in its input.
func Encode(m Marshaler) []byte {
	data, err := m.Marshal()
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", m, err))
	}
	return data
}
