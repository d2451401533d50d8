package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Limits of an R value. Texts and numbers are bounded by the bytes they are in.
const (
	maxRDepth  = 64
	maxRValues = 1 << 16 // values within values, which take more memory than bytes
)

// Bits of the word before a value.
const (
	rHasAttributes = 1 << 9
	rHasTag        = 1 << 10
	rLatin1        = 1 << 14
	rBytes         = 1 << 13
)

// errRCut is what a value ends in that needs more bytes than there are.
var errRCut = errors.New("cut off")

// rReader reads a value in R's serialisation: big-endian, of version 2 or 3.
type rReader struct {
	b       []byte
	at      int
	depth   int
	values  int
	symbols []string // which later values refer to
}

// readR reads a serialised value that takes all of b. Everything is checked against what is there before memory is asked for.
func readR(b []byte) (rValue, error) {
	r := &rReader{b: b}
	v, err := r.whole()
	if err != nil {
		return rValue{}, fmt.Errorf("byte %d of %d of R data: %w", r.at, len(b), err)
	}
	return v, nil
}

// whole reads the header, a value, and nothing behind it.
func (r *rReader) whole() (rValue, error) {
	head, err := r.bytes(2)
	if err != nil {
		return rValue{}, err
	}
	if string(head) != "X\n" {
		return rValue{}, fmt.Errorf("it begins with %q, want the binary serialisation", head)
	}
	version, err := r.int()
	if err != nil {
		return rValue{}, err
	}
	if version != 2 && version != 3 {
		return rValue{}, fmt.Errorf("serialisation of version %d, want 2 or 3", version)
	}
	if _, err := r.bytes(8); err != nil { // the versions of R that wrote it and that can read it
		return rValue{}, err
	}
	if version == 3 {
		if err := r.encoding(); err != nil {
			return rValue{}, err
		}
	}
	v, err := r.value()
	if err == nil && r.at != len(r.b) {
		err = fmt.Errorf("%d bytes behind the value", len(r.b)-r.at)
	}
	return v, err
}

// encoding steps over the name of the encoding of texts that have no mark.
func (r *rReader) encoding() error {
	n, err := r.int()
	if err != nil {
		return err
	}
	if n < 0 || n > 64 {
		return fmt.Errorf("the name of an encoding of %d bytes", n)
	}
	_, err = r.bytes(int(n))
	return err
}

// value reads a value.
func (r *rReader) value() (rValue, error) {
	if r.depth++; r.depth > maxRDepth {
		return rValue{}, fmt.Errorf("nested deeper than %d", maxRDepth)
	}
	defer func() { r.depth-- }()
	if r.values++; r.values > maxRValues {
		return rValue{}, fmt.Errorf("more than %d values", maxRValues)
	}
	flags, err := r.int()
	if err != nil {
		return rValue{}, err
	}
	v := rValue{kind: rKind(flags & 0xff)}
	switch v.kind {
	case rNull:
		return v, nil
	case rSymbol:
		return r.symbol()
	case rReference:
		return r.reference(flags)
	case rPairs:
		v.attributes, err = r.pairs(flags)
		return v, err
	case rLogical, rInteger:
		v.ints, err = r.ints()
	case rReal:
		v.reals, err = r.reals()
	case rTexts:
		v.texts, v.missing, err = r.texts()
	case rList:
		v.list, err = r.list()
	default:
		err = fmt.Errorf("a value of the kind %d, which data does not have", v.kind)
	}
	if err != nil || flags&rHasAttributes == 0 {
		return v, err
	}
	attributes, err := r.value()
	if err == nil && attributes.kind != rPairs {
		err = fmt.Errorf("attributes of the kind %d", attributes.kind)
	}
	v.attributes = attributes.attributes
	return v, err
}

// symbol reads the name of a symbol and keeps it.
func (r *rReader) symbol() (rValue, error) {
	name, missing, err := r.text()
	if err != nil {
		return rValue{}, err
	}
	if missing {
		return rValue{}, errors.New("a symbol without a name")
	}
	r.symbols = append(r.symbols, name)
	return rValue{kind: rSymbol, texts: []string{name}}, nil
}

// reference returns the symbol that a value refers to.
func (r *rReader) reference(flags int32) (rValue, error) {
	i := flags >> 8
	if i == 0 {
		var err error
		if i, err = r.int(); err != nil {
			return rValue{}, err
		}
	}
	if i < 1 || int(i) > len(r.symbols) {
		return rValue{}, fmt.Errorf("a reference to symbol %d of %d", i, len(r.symbols))
	}
	return rValue{kind: rSymbol, texts: []string{r.symbols[i-1]}}, nil
}

// pairs reads a list of pairs whose first word is flags.
func (r *rReader) pairs(flags int32) ([]attribute, error) {
	var out []attribute
	for {
		if flags&rHasAttributes != 0 {
			return nil, errors.New("pairs with attributes, which data does not have")
		}
		var a attribute
		if flags&rHasTag != 0 {
			tag, err := r.value()
			if err != nil {
				return nil, err
			}
			if tag.kind != rSymbol {
				return nil, fmt.Errorf("a name of the kind %d", tag.kind)
			}
			a.name = tag.texts[0]
		}
		var err error
		if a.value, err = r.value(); err != nil {
			return nil, err
		}
		out = append(out, a)
		if flags, err = r.int(); err != nil {
			return nil, err
		}
		switch rKind(flags & 0xff) {
		case rNull:
			return out, nil
		case rPairs:
		default:
			return nil, fmt.Errorf("pairs that go on with the kind %d", flags&0xff)
		}
	}
}

// list reads the values of a list.
func (r *rReader) list() ([]rValue, error) {
	n, err := r.length(4)
	if err != nil {
		return nil, err
	}
	if n > maxRValues-r.values {
		return nil, fmt.Errorf("more than %d values", maxRValues)
	}
	return several(n, r.value)
}

func (r *rReader) ints() ([]int32, error) {
	n, err := r.length(4)
	if err != nil {
		return nil, err
	}
	return several(n, r.int)
}

// several reads n values of a kind.
func several[T any](n int, read func() (T, error)) ([]T, error) {
	out := make([]T, n)
	for i := range out {
		var err error
		if out[i], err = read(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *rReader) reals() ([]float64, error) {
	n, err := r.length(8)
	if err != nil {
		return nil, err
	}
	b, err := r.bytes(8 * n)
	if err != nil {
		return nil, err
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Float64frombits(binary.BigEndian.Uint64(b[8*i:]))
	}
	return out, nil
}

// texts reads a vector of texts, and which of them are missing.
func (r *rReader) texts() (out []string, missing []int, err error) {
	n, err := r.length(8)
	if err != nil {
		return nil, nil, err
	}
	out = make([]string, n)
	for i := range out {
		text, none, err := r.text()
		if err != nil {
			return nil, nil, err
		}
		if none {
			missing = append(missing, i)
		}
		out[i] = text
	}
	return out, missing, nil
}

// text reads a text. One without a mark is UTF-8, as R writes it nearly everywhere; what is not, is refused.
func (r *rReader) text() (text string, missing bool, err error) {
	flags, err := r.int()
	if err != nil {
		return "", false, err
	}
	if rKind(flags&0xff) != rText || flags&rHasAttributes != 0 || flags&rBytes != 0 {
		return "", false, fmt.Errorf("a text with the mark %#x", flags)
	}
	n, err := r.int()
	if err != nil {
		return "", false, err
	}
	if n == -1 {
		return "", true, nil
	}
	if n < 0 {
		return "", false, fmt.Errorf("a text of %d bytes", n)
	}
	b, err := r.bytes(int(n))
	if err != nil {
		return "", false, err
	}
	if flags&rLatin1 != 0 {
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		return string(runes), false, nil
	}
	if !utf8.Valid(b) {
		return "", false, fmt.Errorf("the text %.40q is not UTF-8", b)
	}
	return string(b), false, nil
}

// length reads the number of elements of a vector, each of at least so many bytes.
func (r *rReader) length(each int) (int, error) {
	n, err := r.int()
	if err != nil {
		return 0, err
	}
	if n < 0 || int(n) > (len(r.b)-r.at)/each {
		return 0, fmt.Errorf("%w: %d elements in %d bytes", errRCut, n, len(r.b)-r.at)
	}
	return int(n), nil
}

func (r *rReader) int() (int32, error) {
	b, err := r.bytes(4)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

func (r *rReader) bytes(n int) ([]byte, error) {
	if n > len(r.b)-r.at {
		return nil, errRCut
	}
	r.at += n
	return r.b[r.at-n : r.at], nil
}
