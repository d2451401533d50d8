package plots

import (
	"bytes"
	"fmt"
	"html"
	"image/png"
	"io"
	"regexp"
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

// Names lists the figures that Draw knows.
func Names() []string {
	return []string{"loss-vs-decay", "plasticity-vs-decay", "loss-vs-plasticity", "rank-vs-decay", "rank-over-training", "training-curves"}
}

// aboutTuned tells whether a figure is about fine-tuned runs; without any a report leaves it out unless it is asked for.
func aboutTuned(name string) bool {
	return name == "plasticity-vs-decay" || name == "loss-vs-plasticity"
}

// aboutRanks tells whether a figure is about pseudo-ranks; without any a report leaves it out unless it is asked for.
func aboutRanks(name string) bool { return name == "rank-vs-decay" || name == "rank-over-training" }

// Draw makes a figure by name. The error is a Failure with Usage for an unknown name.
func Draw(name string, s *Set) (Figure, error) {
	switch name {
	case "loss-vs-decay":
		return LossVsDecay(s), nil
	case "plasticity-vs-decay":
		return PlasticityVsDecay(s), nil
	case "loss-vs-plasticity":
		return LossVsPlasticity(s), nil
	case "rank-vs-decay":
		return RankVsDecay(s), nil
	case "rank-over-training":
		return RankOverTraining(s), nil
	case "training-curves":
		return TrainingCurves(s), nil
	default:
		return Figure{}, record.Fail(record.Usage, "figure %.60q: there are %s", name, strings.Join(Names(), ", "))
	}
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
