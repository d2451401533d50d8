package plots

import (
	"bytes"
	"fmt"
	"html"
	"image/png"
	"io"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"plasticity/record"
)

// Figure is a drawn figure. It writes itself as PNG, SVG, and as the CSV of the points in it.
type Figure struct {
	Name    string   // loss-vs-decay
	Title   string   // for headings
	Alt     string   // what the picture shows, for those who do not see it
	Caption string   // what was drawn from what
	Notes   []string // what is wrong or missing; also on the picture
	Points  Table    // every point drawn, with run ids

	sheet sheet
}

// sheet is what a figure draws: a size, and a function that fills it.
type sheet struct {
	width, height vg.Length
	draw          func(p *pen)
}

// subject is what a figure is about: a report leaves out figures about what no run has, unless they are asked for.
type subject int

const (
	aboutRuns subject = iota
	aboutTuned
	aboutProbes
	aboutRanks
	aboutGaps
	aboutNoise
	aboutForgetting
	aboutSignals
	aboutImports
	aboutLaws
)

// has tells whether the set has anything of the subject.
func (s *Set) has(about subject) bool {
	switch about {
	case aboutTuned:
		return len(s.tuned) > 0
	case aboutProbes:
		return probeAnalysis().measured(s)
	case aboutRanks:
		return rankAnalysis().measured(s)
	case aboutGaps:
		return gapAnalysis().measured(s)
	case aboutNoise:
		return noiseAnalysis().measured(s)
	case aboutForgetting:
		return slices.ContainsFunc(s.down, (*downstream).forgets)
	case aboutSignals:
		return len(s.signalsOf()) > 0
	case aboutLaws:
		return len(s.families()) > 0
	case aboutImports:
		return s.lookedInto() > 0
	case aboutRuns:
	}
	return len(s.members)+len(s.tuned) > 0 || len(s.imports) == 0 // an empty set has figures that say so
}

// figureKind is a figure that can be drawn by name.
type figureKind struct {
	name  string
	about subject
	draw  func(*Set) Figure
}

// figureKinds lists all figures, in the order of a report.
func figureKinds() []figureKind {
	return []figureKind{
		{"loss-vs-decay", aboutRuns, LossVsDecay},
		{"plasticity-vs-decay", aboutTuned, PlasticityVsDecay},
		{"loss-vs-plasticity", aboutTuned, LossVsPlasticity},
		{"tau-vs-tokens", aboutLaws, TauVsTokens},
		{"probes-vs-decay", aboutProbes, ProbesVsDecay},
		{"probes-by-layer", aboutProbes, ProbesByLayer},
		{"rank-vs-decay", aboutRanks, RankVsDecay},
		{"rank-over-training", aboutRanks, RankOverTraining},
		{"gap-vs-decay", aboutGaps, GapVsDecay},
		{"noise-vs-decay", aboutNoise, NoiseVsDecay},
		{"forgetting-vs-learning", aboutForgetting, ForgettingVsLearning},
		{"signals-vs-results", aboutSignals, SignalsVsResults},
		{"training-curves", aboutRuns, TrainingCurves},
	}
}

// subjectOf is what a figure is about.
func subjectOf(name string) subject {
	kinds := figureKinds()
	return kinds[slices.IndexFunc(kinds, func(k figureKind) bool { return k.name == name })].about
}

// Names lists the figures that Draw knows.
func Names() []string {
	var names []string
	for _, k := range figureKinds() {
		names = append(names, k.name)
	}
	return names
}

// Draw makes a figure by name. The error is a Failure with Usage for an unknown name.
func Draw(name string, s *Set) (Figure, error) {
	for _, k := range figureKinds() {
		if k.name == name {
			return k.draw(s), nil
		}
	}
	return Figure{}, record.Fail(record.Usage, "figure %.60q: there are %s", name, strings.Join(Names(), ", "))
}

// PNG writes the picture for screens and print: at least two pixels for each of an ordinary screen.
func (f Figure) PNG(w io.Writer) error { return f.png(w, pngDPI) }

func (f Figure) png(w io.Writer, dpi int) error {
	canvas := vgimg.NewWith(vgimg.UseWH(f.sheet.width, f.sheet.height), vgimg.UseDPI(dpi))
	f.paint(canvas)
	encoder := png.Encoder{CompressionLevel: png.DefaultCompression}
	return encoder.Encode(w, canvas.Image())
}

// SVG writes the picture as vectors, with title and description for screen readers. It loads nothing: text is set in
// Liberation Sans or what the reader has of the same measures.
func (f Figure) SVG(w io.Writer) error {
	canvas := vgsvg.New(f.sheet.width, f.sheet.height)
	f.paint(canvas)
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return fmt.Errorf("draw %s: %w", f.Name, err)
	}
	text := svgFonts.ReplaceAllString(raw.String(), "font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif;font-weight:$1;font-style:normal")
	const root = `xmlns:xlink="http://www.w3.org/1999/xlink">`
	about := fmt.Sprintf("%s\n<title>%s</title>\n<desc>%s</desc>", root, html.EscapeString(f.Title), html.EscapeString(f.Alt))
	_, err := io.WriteString(w, strings.Replace(text, root, about, 1))
	return err
}

// svgFonts matches what vgsvg writes for a font.
var svgFonts = regexp.MustCompile(`font-family:Liberation Sans[^;"]*;font-variant:[^;"]*;font-weight:([^;"]*);font-style:[^;"]*`)

// CSV writes the points that were drawn.
func (f Figure) CSV(w io.Writer) error { return f.Points.CSV(w) }

// paint fills a canvas.
func (f Figure) paint(canvas vg.CanvasSizer) {
	p := &pen{Canvas: draw.New(canvas), palette: newPalette(), fonts: newFonts()}
	p.FillPolygon(p.paper, []vg.Point{{}, {X: f.sheet.width}, {X: f.sheet.width, Y: f.sheet.height}, {Y: f.sheet.height}})
	f.sheet.draw(p)
}
