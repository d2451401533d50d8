package answer

import (
	"slices"
	"strings"
)

// stripUnits drops the units at the end: words and \text after a number, a bracket or a root, with powers, "/" and "per"
// among them. 5 cm^2, 60 miles per hour and 3\text{ apples} are 5, 60 and 3.
func stripUnits(tokens []token) []token {
	end := len(tokens)
	for i := len(tokens) - 1; i > 0; i-- {
		t, before := tokens[i], tokens[i-1]
		switch {
		case t.kind == tokenText || t.kind == tokenRun && isUnit(t, before):
			if quantity(before) {
				end = i
			}
		case t.kind == tokenNumber && before.is("^"), t.is("^"), t.is("/"), t.is("{") || t.is("}"), t.is("*"):
			// may belong to a unit, if one stands before it
		case t.kind == tokenNumber && before.is("{"):
		default:
			return tokens[:end]
		}
	}
	return tokens[:end]
}

// quantity reports whether what ends in t may be measured in something.
func quantity(t token) bool {
	return t.kind == tokenNumber || t.is("}") || t.is(")") || t.is("%") || t.kind == tokenName
}

// isUnit reports whether a run of letters is the name of a unit. A single letter is one only at a distance: 5 m, not 5m.
func isUnit(t, before token) bool {
	word := strings.ToLower(t.text)
	if len(word) == 1 {
		return t.spaced && before.kind == tokenNumber && strings.Contains("mgshl", word)
	}
	if slices.Contains(unitNames(), word) {
		return true
	}
	singular := strings.TrimSuffix(word, "s")
	return slices.Contains(unitNames(), singular) || slices.Contains(unitNames(), strings.TrimSuffix(singular, "e"))
}

// unitNames lists units in the singular and words that stand among them.
func unitNames() []string {
	return []string{
		"mm", "cm", "dm", "km", "kg", "mg", "lb", "oz", "ml", "ft", "in", "yd", "mi", "hr", "min", "sec", "mph", "kmh", "kmph",
		"meter", "metre", "centimeter", "centimetre", "millimeter", "kilometer", "kilometre", "inch", "foot", "feet", "yard",
		"mile", "acre", "hectare", "gram", "kilogram", "pound", "ounce", "ton", "liter", "litre", "milliliter", "gallon", "cup",
		"second", "minute", "hour", "day", "week", "month", "year", "dollar", "cent", "euro", "rupee", "usd", "coin",
		"degree", "deg", "radian", "unit", "square", "sq", "cubic", "cu", "per", "point", "way", "time", "apple", "people",
		"person", "student", "child", "children", "man", "men", "woman", "women", "book", "mark", "digit", "edge", "tile",
	}
}
