package plots

import (
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// pen draws text and marks on a canvas whose origin is at the lower left.
type pen struct {
	draw.Canvas
	palette
	fonts text.Handler
}

// newFonts gives the fonts that come with the program: figures look the same on every machine.
func newFonts() text.Handler { return text.Plain{Fonts: font.NewCache(liberation.Collection())} }

// style is a text style; x and y say which point of the text lies at the given position.
func (p *pen) style(size vg.Length, bold bool, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{Color: c, Font: face(size, bold), XAlign: x, YAlign: y, Handler: p.fonts}
}

// write draws one line of text.
func (p *pen) write(s text.Style, x, y vg.Length, what string) {
	if what != "" {
		p.FillText(s, vg.Point{X: x, Y: y}, what)
	}
}

// paragraph is text of one style, wrapped.
type paragraph struct {
	text.Style
	lines []string
}

// wrap breaks text into lines of the width. A word that is too long is cut.
func (p *pen) wrap(s text.Style, width vg.Length, what string) paragraph {
	out := paragraph{Style: s}
	current := ""
	what = strings.ReplaceAll(what, "λ = ", "λ\u00a0=\u00a0")
	for word := range strings.SplitSeq(what, " ") {
		word = p.fit(s, width, word)
		switch next := strings.TrimPrefix(current+" "+word, " "); {
		case s.Width(next) <= width:
			current = next
		default:
			out.lines = append(out.lines, current)
			current = word
		}
	}
	if current != "" {
		out.lines = append(out.lines, current)
	}
	return out
}

// fit shortens text to a width.
func (p *pen) fit(s text.Style, width vg.Length, what string) string {
	if s.Width(what) <= width {
		return what
	}
	runes := []rune(what)
	for n := min(len(runes), 400); n > 0; n-- {
		if cut := string(runes[:n]) + "…"; s.Width(cut) <= width {
			return cut
		}
	}
	return ""
}

// height is the space that a paragraph takes.
func (g paragraph) height() vg.Length { return g.Font.Size * lineHeight * vg.Length(len(g.lines)) }

// setDown draws the paragraph below top and returns where it ends.
func (p *pen) setDown(g paragraph, left, top vg.Length) vg.Length {
	step := g.Font.Size * lineHeight
	for i, l := range g.lines {
		p.write(g.Style, left, top-step*(vg.Length(i)+0.78), l)
	}
	return top - g.height()
}

// disc fills a circle and rings it with paper, so that marks stay apart where they overlap.
func (p *pen) disc(x, y, radius vg.Length, c color.Color) {
	halo := draw.GlyphStyle{Color: p.paper, Radius: radius + 0.7, Shape: draw.CircleGlyph{}}
	p.DrawGlyphNoClip(halo, vg.Point{X: x, Y: y})
	p.dot(x, y, radius, c)
}

// dot fills a circle.
func (p *pen) dot(x, y, radius vg.Length, c color.Color) {
	p.DrawGlyphNoClip(draw.GlyphStyle{Color: c, Radius: radius, Shape: draw.CircleGlyph{}}, vg.Point{X: x, Y: y})
}

// ring strokes a circle.
func (p *pen) ring(x, y, radius, width vg.Length, c color.Color) {
	var path vg.Path
	path.Move(vg.Point{X: x + radius, Y: y})
	path.Arc(vg.Point{X: x, Y: y}, radius, 0, 2*math.Pi)
	path.Close()
	p.SetLineStyle(line(c, width))
	p.Stroke(path)
}

// cross strokes an ×.
func (p *pen) cross(x, y, radius vg.Length, c color.Color) {
	s := line(c, widthBar)
	p.StrokeLine2(s, x-radius, y-radius, x+radius, y+radius)
	p.StrokeLine2(s, x-radius, y+radius, x+radius, y-radius)
}

// upward fills a triangle that points up.
func (p *pen) upward(x, y, radius vg.Length, c color.Color) {
	p.FillPolygon(c, []vg.Point{{X: x - radius, Y: y - radius}, {X: x + radius, Y: y - radius}, {X: x, Y: y + radius}})
}

// polyline strokes the points with round looks; runs of it that leave the box are cut at its edge.
func (p *pen) polyline(s draw.LineStyle, box vg.Rectangle, points []vg.Point) {
	clip := draw.Canvas{Canvas: p.Canvas.Canvas, Rectangle: box}
	if len(points) > 1 {
		clip.StrokeLines(s, clip.ClipLinesXY(points)...)
	}
}
