package safetensors

import (
	"encoding/binary"
	"math"
)

// DType is the element type of a stored tensor, as the header spells it.
type DType string

// The element types that can be read and written. Others that the format knows can be listed only.
const (
	F32  DType = "F32"
	BF16 DType = "BF16"
	F16  DType = "F16"
	I64  DType = "I64"
	I32  DType = "I32"
	U8   DType = "U8"
)

// Size is the bytes of one element, 0 for a type that the format does not know.
func (d DType) Size() int64 {
	switch d {
	case "BOOL", U8, "I8", "F8_E5M2", "F8_E4M3":
		return 1
	case "I16", "U16", F16, BF16:
		return 2
	case I32, "U32", F32:
		return 4
	case "F64", I64, "U64":
		return 8
	default:
		return 0
	}
}

// rank orders types in a written file: the library safetensors puts the most aligned first.
func (d DType) rank() int {
	switch d {
	case I64:
		return 0
	case F32:
		return 1
	case I32:
		return 2
	case BF16:
		return 3
	case F16:
		return 4
	default:
		return 5
	}
}

// isFloat reports whether the type can be read and written as float32.
func (d DType) isFloat() bool { return d == F32 || d == BF16 || d == F16 }

// isInt reports whether the type can be read as int64.
func (d DType) isInt() bool { return d == I64 || d == I32 || d == U8 }

// toFloat32 converts len(out) little-endian elements of a float type.
func toFloat32(d DType, raw []byte, out []float32) {
	switch d {
	case F32:
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case BF16:
		for i := range out {
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	default:
		for i := range out {
			out[i] = halfToFloat32(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	}
}

// toInt64 converts len(out) little-endian elements of an integer type.
func toInt64(d DType, raw []byte, out []int64) {
	switch d {
	case I64:
		for i := range out {
			out[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
	case I32:
		for i := range out {
			out[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		}
	default:
		for i := range out {
			out[i] = int64(raw[i])
		}
	}
}

// fromFloat32 appends values as little-endian elements of a float type, rounded to nearest, ties to even.
func fromFloat32(d DType, values []float32, raw []byte) []byte {
	switch d {
	case F32:
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
	case BF16:
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint16(raw, float32ToBF16(x))
		}
	default:
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint16(raw, float32ToHalf(x))
		}
	}
	return raw
}

func float32ToBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x { //nolint:gocritic // NaN; rounding could carry it into infinity
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func halfToFloat32(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero or subnormal: fraction · 2⁻²⁴
		return math.Float32frombits(math.Float32bits(float32(fraction)*0x1p-24) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
}

func float32ToHalf(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	size := math.Float32frombits(bits &^ (1 << 31))
	switch {
	case x != x: //nolint:gocritic // NaN
		return sign | 0x7e00 | uint16(bits>>13&0x1ff)
	case size >= 65520: // halfway between the largest half, 65504, and the next power of two
		return sign | 0x7c00
	case size < 0x1p-14: // subnormal: a multiple of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(size)*0x1p24))
	default:
		bits = math.Float32bits(size)
		return sign | uint16((bits-112<<23+0xfff+bits>>13&1)>>13)
	}
}
