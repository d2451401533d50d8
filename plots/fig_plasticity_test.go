package plots

import (
	"strings"
	"testing"
)

func TestPlasticityVsDecay_DrawsMoreSettingsWhereEachHasFewerRows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answers bool
		hidden  string
	}{{false, ""}, {true, "2 further settings not drawn here"}} {
		var records []Record
		for i := range 6 {
			model := small()
			model.lr *= 1 + float64(i)/10
			bases := model.records(1)
			how := tuning()
			how.tasks, how.rates, how.fresh, how.answers = how.tasks[:2], how.rates[:1], 0, test.answers
			records = append(append(records, bases...), how.of(bases)...)
		}
		notes := strings.Join(PlasticityVsDecay(NewSet(records, nil)).Notes, " ")
		if strings.Contains(notes, "not drawn here") != (test.hidden != "") || !strings.Contains(notes, test.hidden) {
			t.Errorf("with answers %v: %s", test.answers, notes)
		}
	}
}
