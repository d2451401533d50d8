// Constants of the kernels that the memory plan needs to know.
#pragma once

namespace tgo::cuda {

// Rows of partial sums that a norm's backward leaves for its gain: one a block.
constexpr int kGainParts = 512;

}  // namespace tgo::cuda
