package gunzip

import "math/bits"

// An entry of a table tells what a code means:
//
//	bits 0–7    how many bits the code has, with its extra bits; of a link, the bits of the first table
//	bits 8–12   how many it has without them; of a link, by how many bits the second table is looked up
//	bit 13      link: the code is longer than what the first table is looked up by
//	bit 14      it ends the block
//	bit 15      it is none of length, distance and literal
//	bits 16–30  the literal, the length or distance without its extra bits, or where the second table begins
//	bit 31      literal
type entry uint32

const (
	isLink    entry = 1 << 13
	isEnd     entry = 1 << 14
	isSpecial entry = 1 << 15
	isLiteral entry = 1 << 31
)

const (
	literalBits  = 11
	distanceBits = 8
	longestCode  = 15

	// What codes of up to 15 bits need at most is 2342 and 402 (enough 288 11 15, enough 32 8 15, of zlib).
	literalEntries  = 4096
	distanceEntries = 1024

	literals  = 288
	distances = 32
)

// tables are those of a block.
type tables struct {
	literals  [literalEntries]entry
	distances [distanceEntries]entry
}

// meaning of symbols, without what depends on their codes.
var literalMeaning, distanceMeaning = meanings()

func meanings() (l [literals]entry, d [distances]entry) {
	for i := range 256 {
		l[i] = isLiteral | entry(i)<<16
	}
	l[256] = isSpecial | isEnd
	for i := 257; i < literals; i++ {
		l[i] = isSpecial
	}
	base := 3
	for i := range 28 {
		extra := max(0, i/4-1)
		l[257+i] = entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	l[285] = 258 << 16
	base = 1
	for i := range distances {
		if i >= 30 {
			d[i] = isSpecial
			continue
		}
		extra := max(0, i/2-1)
		d[i] = entry(base)<<16 | entry(extra)
		base += 1 << extra
	}
	return l, d
}

// build makes a table that is looked up by some bits at first. lengths are those of the symbols' codes, 0 for symbols
// without. It says whether they are possible: all codes are used, or there is only one, of one bit.
func build(table []entry, first uint, lengths []uint8, meaning []entry) bool {
	var counts [longestCode + 1]int
	for _, n := range lengths {
		counts[n]++
	}
	counts[0] = 0
	var offsets [longestCode + 2]int
	left := 1
	used := 0
	for n := 1; n <= longestCode; n++ {
		left = left<<1 - counts[n]
		if left < 0 {
			return false
		}
		offsets[n+1] = offsets[n] + counts[n]
		used += counts[n]
	}
	if left > 0 && (used > 1 || counts[1] != used) {
		return false
	}
	if left > 0 {
		for i := range table[:1<<first] {
			table[i] = isSpecial | 1 // no code
		}
	}
	var sorted [literals]uint16
	for symbol, n := range lengths {
		if n > 0 {
			sorted[offsets[n]] = uint16(symbol)
			offsets[n]++
		}
	}
	fillTable(table, first, sorted[:used], lengths, counts, meaning)
	return true
}

// fillTable goes through symbols in the order of their codes.
func fillTable(table []entry, first uint, sorted []uint16, lengths []uint8, counts [longestCode + 1]int, meaning []entry) {
	code, length := uint(0), uint(0)
	prefix, start, second, end := -1, 0, uint(0), 1<<first
	for _, symbol := range sorted {
		n := uint(lengths[symbol])
		code <<= n - length
		length = n
		reversed := uint(bits.Reverse16(uint16(code)) >> (16 - n))
		m := meaning[symbol]
		value := m&^0xff | entry(n)<<8 | (entry(n) + m&0xff)
		if n <= first {
			for i := reversed; i < 1<<first; i += 1 << n {
				table[i] = value
			}
		} else {
			if p := int(reversed & (1<<first - 1)); p != prefix {
				prefix, start = p, end
				second = n - first
				for space := counts[n]; space < 1<<second; {
					second++
					space = space<<1 + counts[first+second]
				}
				end = start + 1<<second
				table[p] = isSpecial | isLink | entry(start)<<16 | entry(second)<<8 | entry(first)
			}
			for i := reversed >> first; i < 1<<second; i += 1 << (n - first) {
				table[start+int(i)] = value
			}
		}
		counts[n]--
		code++
	}
}
