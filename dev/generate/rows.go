package generate

import (
	"strconv"
	"time"
)

// Values of the keys.
const (
	Low    = 100
	Medium = 100_000
	High   = 20_000_000
)

// Row is one row, but for the columns that only take room.
type Row struct {
	ID                        int64
	Low, Medium, High, Skewed int64
	Amount                    int64 // 0 to 999
	Cents                     int64 // price, times 100: 0 to 999,999
}

// Number is the row with that number.
func Number(i int64) Row {
	r := Row{
		ID: i, Low: below(i, 1, Low), Medium: below(i, 2, Medium), High: below(i, 3, High),
		Amount: below(i, 4, 1000), Cents: below(i, 5, 1_000_000),
	}
	if i%2 != 0 {
		r.Skewed = r.High
	}
	return r
}

// below is a number from 0 to n-1, by SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
func below(i, column int64, n uint64) int64 {
	x := (uint64(i)*8 + uint64(column)) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int64((x ^ x>>31) % n)
}

var cities = []string{"Hamburg", "Lagos", "Quito", "Osaka", "Perth", "Turin", "Malmö"}

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// AppendJSON appends rows [from, to) as JSON lines, some 150 bytes each.
func AppendJSON(data []byte, from, to int64) []byte {
	for i := from; i < to; i++ {
		r := Number(i)
		field := func(name string, value int64) {
			data = append(data, name...)
			data = strconv.AppendInt(data, value, 10)
		}
		field(`{"id":`, r.ID)
		data = append(data, `,"at":"`...)
		data = begin.Add(time.Duration(i)*7*time.Millisecond).AppendFormat(data, "2006-01-02T15:04:05.000")
		field(`","low":`, r.Low)
		field(`,"medium":`, r.Medium)
		field(`,"high":`, r.High)
		field(`,"skewed":`, r.Skewed)
		field(`,"amount":`, r.Amount)
		field(`,"price":`, r.Cents/100)
		data = append(data, '.', byte('0'+r.Cents/10%10), byte('0'+r.Cents%10))
		data = append(data, `,"city":"`...)
		data = append(data, cities[below(i, 6, uint64(len(cities)))]...)
		field(`","note":"note `, below(i, 7, 100_000))
		data = append(data, "\"}\n"...)
	}
	return data
}
