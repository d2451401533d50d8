package model

import (
	"plasticity/record"
	"plasticity/torch"
)

// Cache holds the keys and values of the tokens that were decoded, so that each further token costs one position.
type Cache struct {
	model  *Transformer
	keys   []*torch.Tensor // of each layer: [B, capacity, G, E], in the precision of products
	values []*torch.Tensor
	batch  int
	limit  int
	length int
}

// NewCache makes room for batch sequences of at most capacity tokens, prompt included, which is at most the context. The
// error is a record.Failure: Usage for impossible sizes, OutOfMemory. The caller closes it before the model.
func (m *Transformer) NewCache(batch, capacity int) (*Cache, error) {
	if batch < 1 || capacity < 1 || capacity > m.config.Context {
		return nil, record.Fail(record.Usage, "generate %d sequences of up to %d tokens: at least 1 of each, and at most the model's context of %d tokens",
			batch, capacity, m.config.Context)
	}
	c := &Cache{model: m, batch: batch, limit: capacity}
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	for range m.blocks {
		for _, list := range []*[]*torch.Tensor{&c.keys, &c.values} {
			*list = append(*list, s.Keep(s.Zeros(m.precision, batch, capacity, m.config.KVHeads, m.config.HeadSize())))
		}
	}
	if err := s.Err(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close frees the cache. Closing twice is harmless.
func (c *Cache) Close() {
	for i := range c.keys {
		c.keys[i].Close()
		c.values[i].Close()
	}
}

// Len is the number of tokens decoded so far, of each sequence.
func (c *Cache) Len() int { return c.length }

// Cap is the number of tokens there is room for.
func (c *Cache) Cap() int { return c.limit }

// Truncate forgets all but the first n tokens; Truncate(0) makes the cache as new.
func (c *Cache) Truncate(n int) { c.length = min(c.length, max(n, 0)) }

// extend adds keys and values [B, T, G, E] of a layer behind the ones there and returns all of them.
func (c *Cache) extend(s *torch.Scope, p pass, k, v *torch.Tensor) (keys, values *torch.Tensor) {
	s.CopyInto(c.keys[p.layer], 1, p.offset, k)
	s.CopyInto(c.values[p.layer], 1, p.offset, v)
	length := p.offset + k.Dim(1)
	return s.Narrow(c.keys[p.layer], 1, 0, length), s.Narrow(c.values[p.layer], 1, 0, length)
}

// Decode runs the next T tokens of every sequence, ids [B, T], behind those in the cache and scores what follows the last:
// [B, V], float32. A prompt may come at once or in pieces. The scope must be one with torch.NoGrad. More tokens
// than the cache has room for are an error of the scope, and the cache stays as it was.
func (m *Transformer) Decode(s *torch.Scope, ids *torch.Tensor, c *Cache) *torch.Tensor {
	time := ids.Dim(1)
	x := m.run(s, ids, pass{offset: c.length, cache: c}) // [B, T, D]
	x = s.Reshape(s.Narrow(x, 1, time-1, 1), c.batch, m.config.Width)
	logits := m.project(s, x) // [B, V]
	if s.Err() == nil {
		c.length += time
	}
	return logits
}
