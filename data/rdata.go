package data

import (
	"errors"
	"fmt"
	"slices"
)

// rKind is the kind of an R value, by its number in R's serialisation.
type rKind int32

// The kinds that are read. Functions, environments, pointers and compact forms (ALTREP) are not: data has none of them.
const (
	rSymbol    rKind = 1
	rPairs     rKind = 2
	rText      rKind = 9
	rLogical   rKind = 10
	rInteger   rKind = 13
	rReal      rKind = 14
	rTexts     rKind = 16
	rList      rKind = 19
	rNull      rKind = 254
	rReference rKind = 255
)

// rMissing stands for a missing integer or logical value.
const rMissing = -1 << 31

// rValue is a value of R. Which of its fields counts, its kind says.
type rValue struct {
	kind       rKind
	ints       []int32     // of logicals and integers
	reals      []float64   // of numbers
	texts      []string    // of texts; of a symbol, its name
	missing    []int       // which of the texts are missing
	list       []rValue    // of lists
	attributes []attribute // of all; of pairs, the pairs
}

// attribute is a named value that belongs to another.
type attribute struct {
	name  string
	value rValue
}

// attribute returns the attribute of a name; its kind is rNull where there is none.
func (v rValue) attribute(name string) rValue {
	for _, a := range v.attributes {
		if a.name == name {
			return a.value
		}
	}
	return rValue{kind: rNull}
}

// is reports whether a value is of a class.
func (v rValue) is(class string) bool { return slices.Contains(v.attribute("class").texts, class) }

// element returns the element of a list by its name.
func (v rValue) element(name string) (rValue, error) {
	names := v.attribute("names").texts
	if v.kind != rList || len(names) != len(v.list) {
		return rValue{}, errors.New("no list with names")
	}
	i := slices.Index(names, name)
	if i < 0 {
		return rValue{}, fmt.Errorf("no element %.40q in a list that has %.200q", name, names)
	}
	return v.list[i], nil
}

// column returns the values of a column of texts of a data frame, all of which are there.
func (v rValue) column(name string) ([]string, error) {
	c, err := v.frameColumn(name)
	if err != nil {
		return nil, err
	}
	if c.kind != rTexts || len(c.missing) > 0 {
		return nil, fmt.Errorf("column %.40q: want texts of which none is missing", name)
	}
	return c.texts, nil
}

// factor returns the levels of a column of a data frame, and of each row which of them it has, from 0 on.
func (v rValue) factor(name string) (levels []string, of []int, err error) {
	c, err := v.frameColumn(name)
	if err != nil {
		return nil, nil, err
	}
	levels = c.attribute("levels").texts
	if c.kind != rInteger || !c.is("factor") || len(levels) == 0 {
		return nil, nil, fmt.Errorf("column %.40q: want a factor with levels", name)
	}
	of = make([]int, len(c.ints))
	for i, code := range c.ints {
		if code < 1 || int(code) > len(levels) {
			return nil, nil, fmt.Errorf("column %.40q: row %d has the level %d of %d", name, i+1, code, len(levels))
		}
		of[i] = int(code) - 1
	}
	return levels, of, nil
}

// frameColumn returns a column of a data frame whose columns are all as long.
func (v rValue) frameColumn(name string) (rValue, error) {
	if !v.is("data.frame") {
		return rValue{}, errors.New("not a data frame")
	}
	for _, c := range v.list {
		if c.length() != v.list[0].length() {
			return rValue{}, errors.New("a data frame with columns of different lengths")
		}
	}
	return v.element(name)
}

// length is the number of elements of a vector.
func (v rValue) length() int {
	return len(v.ints) + len(v.reals) + len(v.texts) + len(v.list)
}
