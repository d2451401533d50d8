package task

// Size is how large a task is without looking into its files.
type Size struct {
	Train, Test int
	Kind        string
}

// KnownSize is the size of a task by its name, for plans made before the task is: of a synthetic family what Make gives it, of public data what
// the paper's authors report for theirs. ok is false for a name that is neither.
func KnownSize(name string) (size Size, ok bool) {
	for _, f := range Families() {
		if f.Name == name {
			return Size{DefaultTrain, DefaultTest, f.Kind}, true
		}
	}
	const maths = 1209 + 5000 // GSM8K-Platinum and the test split of MATH
	switch name {
	case "metamathqa":
		return Size{395_000, maths, Math}, true
	case "simplescaling":
		return Size{54_484, maths, Math}, true
	case "medmcqa":
		return Size{182_555, 4183, Letter}, true
	case "pubmedqa":
		return Size{211_269, 1000, Word}, true
	case "mmluprocot":
		return Size{123_836, 567, Letter}, true
	case "race":
		return Size{92_737, 4934, Letter}, true
	}
	return Size{}, false
}
