package label

import (
	"math/rand/v2"
	"strings"

	"plasticity/record"
)

// mostSentences is well below the number of different sentences, 150,000, so that drawing them does not take long.
const mostSentences = 50_000

// templates makes sentences that say something good or bad of something, some of them by a negation, so that single words do not
// decide. It is a made-up set: that a model separates it says little of natural sentiment.
func templates(o Options) (*Set, error) {
	words := newVocabulary()
	random := rand.New(rand.NewPCG(uint64(o.Seed), streamMake))
	want := o.Train + o.Val + o.Test
	seen := make(map[string]bool)
	var texts []Text
	if want > mostSentences {
		return nil, record.Fail(record.Usage, "task %s has enough different sentences for %d, %d are asked for: ask for fewer", o.Task, mostSentences, want)
	}
	for len(texts) < want {
		t := words.sentence(random)
		if !seen[t.Text] {
			seen[t.Text] = true
			texts = append(texts, t)
		}
	}
	return &Set{
		Task: o.Task, Data: "synthetic sentences, made of templates by a seed", Synthetic: true, Labels: []string{"negative", "positive"},
		Train: texts[:o.Train], Val: texts[o.Train : o.Train+o.Val], Test: texts[o.Train+o.Val:],
	}, nil
}

// vocabulary is what the sentences are made of.
type vocabulary struct {
	frames, things, who []string
	qualities           [2][]string // bad, good
	intensities         []string
	negations           []string
}

func newVocabulary() vocabulary {
	list := func(text string) []string { return strings.Split(text, ",") }
	return vocabulary{
		frames: []string{
			"{who} said that the {thing} was {quality}.", "In the end the {thing} seemed {quality} to {who}.",
			"{who} found the {thing} {quality}.", "The {thing} of that year was {quality}, as {who} wrote.",
			"Nobody doubted it: the {thing} was {quality}.", "When {who} saw the {thing}, it was {quality}.",
		},
		things: list("speech,treaty,harvest,road,school,budget,army,report,law,market,bank,plan,canal,mail service,election,committee,railroad,hospital,bridge,newspaper"),
		who:    list("my sister,the governor,the old judge,a farmer,the senator,our neighbor,the teacher,a soldier,the merchant,the president"),
		qualities: [2][]string{
			list("bad,poor,awful,weak,sad,harmful,a failure,a disgrace,unjust,worthless"),
			list("good,great,excellent,strong,happy,useful,a success,an honor,just,valuable"),
		},
		intensities: list(",very much ,in every way ,without question ,"),
		negations:   list("not ,by no means ,never "),
	}
}

// sentence draws one.
func (v vocabulary) sentence(random *rand.Rand) Text {
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	label := random.IntN(2)
	quality := pick(v.intensities) + pick(v.qualities[label])
	if random.IntN(3) == 0 {
		quality = pick(v.negations) + pick(v.qualities[1-label])
	}
	text := strings.NewReplacer("{who}", pick(v.who), "{thing}", pick(v.things), "{quality}", quality).Replace(pick(v.frames))
	return Text{Text: strings.ToUpper(text[:1]) + text[1:], Label: label}
}
