package data

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz/lzma"
)

// rInt is how R writes whole numbers.
func rInt(n ...int) []byte {
	var b []byte
	for _, i := range n {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(i)))
	}
	return b
}

// rVector is a vector of a kind and its number of elements, with attributes if there are any.
func rVector(kind rKind, n int, elements, attributes []byte) []byte {
	flags := int(kind)
	if attributes != nil {
		flags |= rHasAttributes
	}
	return slices.Concat(rInt(flags, n), elements, attributes)
}

func rTextOf(text string) []byte {
	return append(rInt(int(rText)|1<<18, len(text)), text...) // ASCII
}

func rTextsOf(attributes []byte, texts ...string) []byte {
	var b []byte
	for _, t := range texts {
		b = append(b, rTextOf(t)...)
	}
	return rVector(rTexts, len(texts), b, attributes)
}

func rIntsOf(attributes []byte, n ...int) []byte {
	return rVector(rInteger, len(n), rInt(n...), attributes)
}

func rListOf(attributes []byte, values ...[]byte) []byte {
	return rVector(rList, len(values), slices.Concat(values...), attributes)
}

// rPair is one named value; a list of pairs is several and rEnd.
func rPair(name string, value []byte) []byte {
	return slices.Concat(rInt(int(rPairs)|rHasTag, int(rSymbol)), rTextOf(name), value)
}

func rEnd() []byte { return rInt(int(rNull)) }

// rNamed is a list with names.
func rNamed(names []string, values ...[]byte) []byte {
	return rListOf(slices.Concat(rPair("names", rTextsOf(nil, names...)), rEnd()), values...)
}

// rWhole is a serialised value.
func rWhole(value []byte) []byte {
	return slices.Concat([]byte("X\n"), rInt(3, 0x040300, 0x030500, 5), []byte("UTF-8"), value)
}

// rReviews is a data frame of reviews, as R has it.
func rReviews(texts []string, scores ...int) []byte {
	products := make([]string, len(texts))
	for i := range products {
		products[i] = "B00" + string(rune('A'+i%26))
	}
	score := slices.Concat(rPair("levels", rTextsOf(nil, "great", "other")), rPair("class", rTextsOf(nil, "factor")), rEnd())
	frame := slices.Concat(rPair("class", rTextsOf(nil, "tbl_df", "tbl", "data.frame")), rPair("row.names", rIntsOf(nil, rMissing, -len(texts))),
		rPair("names", rTextsOf(nil, "product", "review", "score")), rEnd())
	return rListOf(frame, rTextsOf(nil, products...), rTextsOf(nil, texts...), rIntsOf(score, scores...))
}

// rPack packs a serialised value in a way, with a letter from the second on.
func rPack(t testing.TB, plain []byte, packing int, letter byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.Write(rInt(len(plain)))
	if packing > 1 {
		b.WriteByte(letter)
	}
	switch {
	case packing == 0:
		return plain
	case letter == '0':
		b.Write(plain)
	case letter == 'Z':
		w, err := lzma.Writer2Config{DictCap: 1 << 20}.NewWriter2(&b)
		check(t, err)
		_, err = w.Write(plain)
		check(t, err)
		check(t, w.Close())
	default:
		w := zlib.NewWriter(&b)
		_, err := w.Write(plain)
		check(t, err)
		check(t, w.Close())
	}
	return b.Bytes()
}

// rStoreOf makes the two files of a store with two values.
func rStoreOf(t testing.TB, packing int, letter byte, names [2]string, values [2][]byte) (index, store []byte) {
	t.Helper()
	first, second := rPack(t, rWhole(values[0]), packing, letter), rPack(t, rWhole(values[1]), packing, letter)
	root := rNamed([]string{"variables", "references", "compressed"},
		rNamed(names[:], rIntsOf(nil, 0, len(first)), rIntsOf(nil, len(first), len(second))), rListOf(nil), rIntsOf(nil, packing))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(rWhole(root))
	check(t, err)
	check(t, z.Close())
	return b.Bytes(), append(first, second...)
}

func TestReadR_Values(t *testing.T) {
	reals := binary.BigEndian.AppendUint64(nil, math.Float64bits(2.5))
	latin := append(rInt(int(rText)|rLatin1, 1), 0xe9)
	missing := rInt(int(rText), -1)
	list := rListOf(slices.Concat(rPair("names", rTextsOf(nil, "a", "b", "c", "d")), rInt(int(rPairs)|rHasTag, 1<<8|int(rReference)), rIntsOf(nil, 7), rEnd()),
		rIntsOf(nil, 1, -2), rVector(rReal, 1, reals, nil), rVector(rTexts, 2, append(latin, missing...), nil), rEnd())
	for name, whole := range map[string][]byte{
		"version 3": rWhole(list), "version 2": slices.Concat([]byte("X\n"), rInt(2, 0x040300, 0x020300), list),
	} {
		v, err := readR(whole)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := rValue{kind: rList, list: []rValue{
			{kind: rInteger, ints: []int32{1, -2}}, {kind: rReal, reals: []float64{2.5}}, {kind: rTexts, texts: []string{"é", ""}, missing: []int{1}}, {kind: rNull},
		}, attributes: []attribute{{"names", rValue{kind: rTexts, texts: []string{"a", "b", "c", "d"}}}, {"names", rValue{kind: rInteger, ints: []int32{7}}}}}
		if diff := cmp.Diff(want, v, cmp.AllowUnexported(rValue{}, attribute{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if a, err := v.element("a"); err != nil || a.length() != 2 {
			t.Errorf("%s: element a: %+v, %v", name, a, err)
		}
	}
}

func TestReadR_Frame(t *testing.T) {
	v, err := readR(rWhole(rReviews([]string{"fine", "not so"}, 1, 2)))
	check(t, err)
	texts, err := v.column("review")
	check(t, err)
	levels, of, err := v.factor("score")
	check(t, err)
	if !slices.Equal(texts, []string{"fine", "not so"}) || !slices.Equal(levels, []string{"great", "other"}) || !slices.Equal(of, []int{0, 1}) {
		t.Errorf("%q, %q, %v", texts, levels, of)
	}
	for name, c := range map[string]struct {
		v    []byte
		want string
	}{
		"level too high":    {rReviews([]string{"a", "b"}, 1, 3), "row 2"},
		"level missing":     {rReviews([]string{"a", "b"}, 1, rMissing), "row 2"},
		"columns differ":    {rReviews([]string{"a", "b"}, 1), "different lengths"},
		"no frame":          {rTextsOf(nil, "a"), "no"},
		"a list, no frame":  {rNamed([]string{"score"}, rIntsOf(nil, 1)), "not a data frame"},
		"other column":      {rListOf(slices.Concat(rPair("class", rTextsOf(nil, "data.frame")), rPair("names", rTextsOf(nil, "x")), rEnd()), rIntsOf(nil, 1)), "score"},
		"numbers, no level": {rListOf(slices.Concat(rPair("class", rTextsOf(nil, "data.frame")), rPair("names", rTextsOf(nil, "score")), rEnd()), rIntsOf(nil, 1)), "factor"},
	} {
		v, err := readR(rWhole(c.v))
		check(t, err)
		if _, _, err := v.factor("score"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := v.column("score"); err == nil {
		t.Error("a factor was read as texts")
	}
	if _, _, err := v.factor("review"); err == nil {
		t.Error("texts were read as a factor")
	}
}

func TestReadR_Hostile(t *testing.T) {
	deep := rEnd()
	for range maxRDepth {
		deep = rListOf(nil, deep)
	}
	many := make([][]byte, maxRValues)
	for i := range many {
		many[i] = rEnd()
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":                {nil, "cut off"},
		"text form":            {[]byte("A\n3\n"), "binary"},
		"version":              {slices.Concat([]byte("X\n"), rInt(4, 0, 0)), "version 4"},
		"encoding of 2 GiB":    {slices.Concat([]byte("X\n"), rInt(3, 0, 0, math.MaxInt32)), "encoding"},
		"no value":             {rWhole(nil), "cut off"},
		"more behind":          {rWhole(rInt(int(rNull), 0)), "behind"},
		"2 GiB of numbers":     {rWhole(rInt(int(rInteger), math.MaxInt32, 1)), "cut off"},
		"2 GiB of reals":       {rWhole(rInt(int(rReal), math.MaxInt32, 1)), "cut off"},
		"2 GiB of texts":       {rWhole(rInt(int(rTexts), math.MaxInt32, 1)), "cut off"},
		"2 GiB of values":      {rWhole(rInt(int(rList), math.MaxInt32, 1)), "cut off"},
		"long vector":          {rWhole(rInt(int(rInteger), -1, 1, 0)), "-1 elements"},
		"text cut off":         {rWhole(rInt(int(rTexts), 1, int(rText), 9)), "cut off"},
		"text of -2 bytes":     {rWhole(rInt(int(rTexts), 1, int(rText), -2)), "-2 bytes"},
		"text that is none":    {rWhole(rInt(int(rTexts), 1, int(rInteger), 0)), "mark"},
		"bytes that are none":  {rWhole(append(rInt(int(rTexts), 1, int(rText), 1), 0xff)), "UTF-8"},
		"raw bytes as text":    {rWhole(rInt(int(rTexts), 1, int(rText)|rBytes, 0)), "mark"},
		"deep":                 {rWhole(deep), "nested"},
		"many values":          {rWhole(rListOf(nil, many...)), "more than"},
		"function":             {rWhole(rInt(3, 0)), "kind 3"},
		"environment":          {rWhole(rInt(4, 0)), "kind 4"},
		"compact form":         {rWhole(rInt(238)), "kind 238"},
		"reference to nothing": {rWhole(rInt(1<<8 | int(rReference))), "symbol 1 of 0"},
		"long reference":       {rWhole(rInt(int(rReference), -3)), "symbol -3"},
		"nameless symbol":      {rWhole(rInt(int(rSymbol), int(rText), -1)), "without a name"},
		"tag that is none":     {rWhole(slices.Concat(rInt(int(rPairs)|rHasTag), rIntsOf(nil, 1))), "name of the kind"},
		"pairs of pairs":       {rWhole(rInt(int(rPairs)|rHasAttributes, 0)), "with attributes"},
		"open pairs":           {rWhole(slices.Concat(rPair("a", rEnd()), rInt(int(rInteger)))), "go on"},
		"attributes of a kind": {rWhole(rVector(rInteger, 0, nil, rIntsOf(nil, 1))), "attributes of"},
	} {
		if _, err := readR(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	whole := rWhole(rReviews([]string{"a", "b"}, 1, 2))
	for n := range whole {
		if _, err := readR(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(whole))
		}
	}
}

func TestRStore_EveryPacking(t *testing.T) {
	values := [2][]byte{rReviews([]string{"a"}, 1), rReviews(slices.Repeat([]string{strings.Repeat("word ", 99)}, 99), slices.Repeat([]int{2}, 99)...)}
	for name, c := range map[string]struct {
		packing int
		letter  byte
	}{"plain": {0, 0}, "zlib": {1, '1'}, "zlib, named": {2, '1'}, "plain, named": {3, '0'}, "LZMA2": {3, 'Z'}} {
		index, store := rStoreOf(t, c.packing, c.letter, [2]string{"small", "large"}, values)
		s, err := openRStore(index, store)
		check(t, err)
		for of, n := range map[string]int{"small": 1, "large": 99} {
			v, err := s.value(of)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if texts, err := v.column("review"); err != nil || len(texts) != n {
				t.Errorf("%s: %s has %d texts, %v", name, of, len(texts), err)
			}
		}
	}
	// No writer of bzip2 is at hand: the packed form of "bzip2 works".
	packed, err := hex.DecodeString("425a6839314159265359e0bdd3c50000011980400010001028d890200022000f508069a686bd38d0e3c5dc914e1424382f74f140")
	check(t, err)
	if plain, err := unpackR(slices.Concat(rInt(11), []byte{'2'}, packed), 2); err != nil || string(plain) != "bzip2 works" {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestRStore_Hostile(t *testing.T) {
	zipped := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, err := z.Write(b)
		check(t, err)
		check(t, z.Close())
		return out.Bytes()
	}
	root := func(place, packing []byte) []byte {
		return zipped(rWhole(rNamed([]string{"variables", "compressed"}, rNamed([]string{"x"}, place), packing)))
	}
	one := rIntsOf(nil, 1)
	body := rPack(t, rWhole(one), 1, '1')
	for name, c := range map[string]struct {
		index, store []byte
		want         string
	}{
		"no gzip":            {[]byte("hello"), nil, "index"},
		"index cut off":      {root(rIntsOf(nil, 0, 9), one)[:30], nil, "EOF"},
		"index is a bomb":    {zipped(make([]byte, maxRIndex+1)), nil, "more than"},
		"index of nothing":   {zipped(rWhole(rEnd())), nil, "no list"},
		"no packing":         {zipped(rWhole(rNamed([]string{"variables"}, rEnd()))), nil, "compressed"},
		"packing is half":    {root(rIntsOf(nil, 0, 9), rVector(rReal, 1, binary.BigEndian.AppendUint64(nil, math.Float64bits(0.5)), nil)), nil, "whole"},
		"another name":       {zipped(rWhole(rNamed([]string{"variables", "compressed"}, rNamed([]string{"y"}, one), one))), nil, `"y"`},
		"place without end":  {root(rIntsOf(nil, 0), one), body, "place and length"},
		"place behind":       {root(rIntsOf(nil, 4, len(body)), one), body, "bytes 4 to"},
		"place before":       {root(rIntsOf(nil, -4, len(body)), one), body, "bytes -4 to"},
		"place overflows":    {root(rIntsOf(nil, math.MaxInt32, math.MaxInt32), one), body, "bytes"},
		"too short":          {root(rIntsOf(nil, 0, 3), one), body, "3 bytes"},
		"unknown way":        {root(rIntsOf(nil, 0, len(body)), rIntsOf(nil, 4)), body, "way 4"},
		"unknown letter":     {root(rIntsOf(nil, 0, len(body)), rIntsOf(nil, 3)), body, "not known"},
		"4 GiB unpacked":     {root(rIntsOf(nil, 0, 8), one), append(rInt(-1), body[4:]...), "at most"},
		"smaller than told":  {root(rIntsOf(nil, 0, len(body)), one), append(rInt(1000), body[4:]...), "want 1000"},
		"larger than told":   {root(rIntsOf(nil, 0, len(body)), one), append(rInt(3), body[4:]...), "more than 3"},
		"damaged":            {root(rIntsOf(nil, 0, len(body)), one), append(slices.Clone(body[:len(body)-3]), 1, 2, 3), "checksum"},
		"LZMA2 of nothing":   {root(rIntsOf(nil, 0, 5), rIntsOf(nil, 3)), append(rInt(9), 'Z'), "EOF"},
		"bzip2 of something": {root(rIntsOf(nil, 0, 7), rIntsOf(nil, 2)), append(rInt(9), "2ab"...), "bzip2"},
	} {
		s, err := openRStore(c.index, c.store)
		if err == nil {
			_, err = s.value("x")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzReadR(f *testing.F) {
	f.Add(rWhole(rReviews([]string{"fine", "not so"}, 1, 2)))
	f.Add(rWhole(rNamed([]string{"variables"}, rIntsOf(nil, 1, 2))))
	f.Add(slices.Concat([]byte("X\n"), rInt(2, 0, 0), rVector(rReal, 1, make([]byte, 8), nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := readR(b)
		if err != nil {
			return
		}
		_, _ = v.element("variables")
		_, _ = v.column("review")
		if levels, of, err := v.factor("score"); err == nil {
			for _, k := range of {
				_ = levels[k]
			}
		}
	})
}

func FuzzRStore(f *testing.F) {
	values := [2][]byte{rReviews([]string{"a"}, 1), rReviews([]string{"b"}, 2)}
	for _, letter := range []byte("01Z") {
		packing := 3
		index, store := rStoreOf(f, packing, letter, [2]string{"x", "y"}, values)
		f.Add(index, store)
	}
	f.Fuzz(func(_ *testing.T, index, store []byte) {
		s, err := openRStore(index, store)
		if err != nil {
			return
		}
		_, _ = s.value("x")
	})
}
