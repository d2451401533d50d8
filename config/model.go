package config

// The model families.
const (
	Llama2 = "llama2"
	OLMo2  = "olmo2"
)

// HeadSize returns the width of one attention head.
func (m Model) HeadSize() int {
	if m.Heads == 0 {
		return 0
	}
	return m.Width / m.Heads
}

// Parameters counts all parameters, both embedding matrices included.
func (m Model) Parameters() int64 {
	width := int64(m.Width)
	count := m.MatmulParameters() + width*int64(m.Vocab) // the head is among the matrices
	if m.TieEmbeddings {
		count -= width * int64(m.Vocab)
	}
	norms := 2 * width
	if m.Family == OLMo2 { // gains on the full query and key vectors
		norms += int64(m.HeadSize()) * int64(m.Heads+m.KVHeads)
	}
	return count + int64(m.Layers)*norms + width
}

// MatmulParameters counts the elements of the matrices that a token is multiplied with: all but the input embedding
// and the norm gains. A tied head counts.
func (m Model) MatmulParameters() int64 {
	width, query, key := int64(m.Width), int64(m.HeadSize()*m.Heads), int64(m.HeadSize()*m.KVHeads)
	layer := 2*width*query + 2*width*key + 3*width*int64(m.FFN)
	return int64(m.Layers)*layer + width*int64(m.Vocab)
}

// FLOPsPerToken counts the operations of one training token, forward and backward, in sequences of s = length tokens: 6·N of the
// matrices and 12·L·d·s of the attention products, which causal counts by half since half of them is masked.
func (m Model) FLOPsPerToken(length int) (full, causal float64) {
	matmul := 6 * float64(m.MatmulParameters())
	attention := 12 * float64(m.Layers) * float64(m.HeadSize()*m.Heads) * float64(length)
	return matmul + attention, matmul + attention/2
}
