package gunzip

import "encoding/binary"

// The order in which the lengths of the codes for lengths come.
var lengthOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

var fixedLiterals, fixedDistances = fixedLengths()

func fixedLengths() (l [literals]uint8, d [distances]uint8) {
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	for i := range d {
		d[i] = 5
	}
	return l, d
}

// blockHeader reads the header of a block.
func (r *Reader) blockHeader() error {
	head, err := r.bitsOf(3)
	if err != nil {
		return err
	}
	r.last = head&1 != 0
	switch head >> 1 {
	case 0:
		return r.storedHeader()
	case 1:
		build(r.literals[:], literalBits, fixedLiterals[:], literalMeaning[:])
		build(r.distances[:], distanceBits, fixedDistances[:], distanceMeaning[:])
		r.block = codedBlock
		return nil
	case 2:
		return r.dynamicHeader()
	}
	return ErrCorrupt
}

func (r *Reader) storedHeader() error {
	r.align()
	var sizes [4]byte
	for i := range sizes {
		b, err := r.nextByte()
		if err != nil {
			return unexpected(err)
		}
		sizes[i] = b
	}
	size := binary.LittleEndian.Uint16(sizes[:])
	if size != ^binary.LittleEndian.Uint16(sizes[2:]) {
		return ErrCorrupt
	}
	r.block, r.stored = storedBlock, int(size)
	return nil
}

// dynamicHeader reads the codes of a block that brings its own.
func (r *Reader) dynamicHeader() error {
	counts, err := r.bitsOf(14)
	if err != nil {
		return err
	}
	literalCodes, distanceCodes, lengthCodes := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if literalCodes > 286 || distanceCodes > 30 {
		return ErrCorrupt
	}
	var lengths [literals + distances]uint8
	if err := r.codeLengths(lengths[:literalCodes+distanceCodes], lengthCodes); err != nil {
		return err
	}
	if lengths[256] == 0 || !build(r.literals[:], literalBits, lengths[:literalCodes], literalMeaning[:]) ||
		!build(r.distances[:], distanceBits, lengths[literalCodes:literalCodes+distanceCodes], distanceMeaning[:]) {
		return ErrCorrupt
	}
	r.block = codedBlock
	return nil
}

// codeLengths reads the lengths of codes, which are coded themselves.
func (r *Reader) codeLengths(lengths []uint8, lengthCodes int) error {
	var own [19]uint8
	for _, symbol := range lengthOrder[:lengthCodes] {
		n, err := r.bitsOf(3)
		if err != nil {
			return err
		}
		own[symbol] = uint8(n)
	}
	var meaning [19]entry
	for i := range meaning {
		meaning[i] = entry(i) << 16
	}
	const most = 7 // bits
	var table [1 << most]entry
	if !build(table[:], most, own[:], meaning[:]) {
		return ErrCorrupt
	}
	for i := 0; i < len(lengths); {
		if err := r.ensure(most); err != nil {
			return err
		}
		e := table[r.bits&(1<<most-1)]
		if e&isSpecial != 0 || e&0xff == 0 {
			return ErrCorrupt
		}
		if _, err := r.bitsOf(uint(e & 0xff)); err != nil {
			return err
		}
		symbol := uint8(e >> 16)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		repeat := repeats[symbol-16]
		extra, err := r.bitsOf(repeat.extra)
		if err != nil {
			return err
		}
		value := uint8(0)
		if symbol == 16 {
			if i == 0 {
				return ErrCorrupt
			}
			value = lengths[i-1]
		}
		n := repeat.least + int(extra)
		if i+n > len(lengths) {
			return ErrCorrupt
		}
		for range n {
			lengths[i] = value
			i++
		}
	}
	return nil
}

// repeats are what the last three codes for lengths mean.
var repeats = [3]struct {
	extra uint
	least int
}{{2, 3}, {3, 3}, {7, 11}}

// codes goes on in a block until it ends, or the room is full, or more input is wanted. Where there is none, it goes on
// with zeros, a little at a time.
func (r *Reader) codes() error {
	in, out := &r.in, &r.out
	literals, distances := &r.literals, &r.distances
	pos, bits, count, o := r.pos, r.bits, r.count, r.write
	stop := r.end - ahead // where there is not enough input ahead any more
	if r.ended {
		stop = max(stop, pos) // a few steps
	}
	var err error
	for pos <= stop && o < windowSize+roomSize {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (count & 63)
		pos += int((63 - count) >> 3)
		count |= 56
		e := literals[bits&(1<<literalBits-1)]
		if e&isLiteral != 0 { // three of them have 33 bits at most
			bits >>= e & 63
			count -= uint(e & 0xff)
			out[o] = byte(e >> 16)
			o++
			e = literals[bits&(1<<literalBits-1)]
			if e&isLiteral != 0 {
				bits >>= e & 63
				count -= uint(e & 0xff)
				out[o] = byte(e >> 16)
				o++
				e = literals[bits&(1<<literalBits-1)]
				if e&isLiteral != 0 {
					bits >>= e & 63
					count -= uint(e & 0xff)
					out[o] = byte(e >> 16)
					o++
					continue
				}
			}
		}
		// 34 bits at least are left, a length has 20 at most.
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				e = literals[(e>>16+entry(bits>>literalBits)&(1<<(e>>8&31)-1))&(literalEntries-1)]
				if e&isLiteral != 0 {
					bits >>= e & 63
					count -= uint(e & 0xff)
					out[o] = byte(e >> 16)
					o++
					continue
				}
			}
			if e&isEnd != 0 {
				bits >>= e & 63
				count -= uint(e & 0xff)
				r.block = none
				break
			}
			if e&isSpecial != 0 {
				err = ErrCorrupt
				break
			}
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&31))
		bits >>= e & 63
		count -= uint(e & 0xff)

		bits |= binary.LittleEndian.Uint64(in[pos:]) << (count & 63)
		pos += int((63 - count) >> 3)
		count |= 56
		e = distances[bits&(1<<distanceBits-1)]
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				e = distances[(e>>16+entry(bits>>distanceBits)&(1<<(e>>8&31)-1))&(distanceEntries-1)]
			}
			if e&isSpecial != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&31))
		bits >>= e & 63
		count -= uint(e & 0xff)
		from := o - distance
		if from < r.member {
			err = ErrCorrupt
			break
		}
		end := o + length
		switch {
		case distance >= 8 && length <= 64: // in words: what is written too much is written again
			for o < end {
				binary.LittleEndian.PutUint64(out[o:], binary.LittleEndian.Uint64(out[from:]))
				o += 8
				from += 8
			}
		case distance >= length:
			copy(out[o:end], out[from:])
		default:
			for o < end {
				o += copy(out[o:end], out[from:o])
			}
		}
		o = end
	}
	r.pos, r.bits, r.count, r.write = pos, bits, count, o
	return err
}
