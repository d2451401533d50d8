// Package rank measures how many dimensions the attention of a trained model uses: the pseudo-rank of its products of matrices,
// and other measures of their spectra, head by head.
//
//	report, problems, err := rank.Analyze(ctx, rank.Options{Model: path, Formula: rank.DefaultFormula()})
//	unchanged, err := report.Write(record.OS(), dir)
//
// Letters: D width, H query heads, G key and value heads, E head size. Head h has the matrices
//
//	W_Q [E, D], W_K [E, D] and W_V [E, D]   rows of q_proj, k_proj and v_proj
//	W_P [D, E]                              columns of o_proj
//
// where H/G query heads share W_K and W_V. What attention computes with them are the products
//
//	W_QK = W_Qᵀ W_K     the score of tokens x, y at one position is xᵀ W_QK y; between others rotary embedding turns W_Q and W_K
//	W_VP = W_Vᵀ W_Pᵀ    attending to y adds W_VPᵀ y to the residual stream
//
// both [D, D] and of rank E at most (Kobayashi, Akram, von Oswald, NeurIPS 2024, arXiv 2410.23819). With AᵀB either of them, A
// and B [E, D], and the thin factorisations Aᵀ = Q R, Bᵀ = Q′ R′, the singular values of AᵀB are those of R R′ᵀ, which is [E, E]:
// no matrix of D × D is ever formed. Everything is computed in float64. One layer of the model is in memory at a time.
//
// The balance of factors says how far a group is from where L2 regularisation drives it in the paper cited: with all H/G query heads of
// the group, W_K W_Kᵀ = Σ W_Q W_Qᵀ and W_V W_Vᵀ = Σ W_Pᵀ W_P. It is the same number for each head of a group. For W_V and W_P this holds of
// every model here. For W_Q and W_K it holds of that part of the difference alone which commutes with the rotations of rotary embedding,
// and of nothing in OLMo-2, whose norms on queries and keys take the scale out of the factors: there the balance is a description.
//
// formula.go has the definitions, spectrum.go the linear algebra, weights.go the tensors, analyze.go the way through a model, write.go the files.
//
// # rank.json
//
// The formula stands beside the numbers, since the paper does not give its own:
//
//	schema      1
//	formula     power, threshold, normalisation ("none" or "head_size"), tolerance, folded_norms
//	model       family, layers, width, heads, kv_heads, head_size, and where it comes from: run (an id) or folder (a name)
//	step        of the checkpoint that layers is of, and tokens read by then; absent for a Hugging Face folder
//	layers      of the newest checkpoint: for each layer its number, from 0 on, and qk and vp, each a product
//	training    with --all, for each whole checkpoint, the oldest first: step, tokens, layers
//	left_out    with --all, the steps of checkpoints that were damaged; absent when there are none
//
// A product has mean and heads, the pseudo-rank over heads and head by head, and the same pair for tolerance_rank, stable_rank,
// entropy_rank, participation_ratio and balance; with --spectra also singular_values, for each head E numbers, the largest first. Only the
// pseudo-rank is normalised. rank.csv has a line for each step, layer, product and head.
//
// The package may import config, model/source, record and torch/safetensors, and builds without C.
package rank
