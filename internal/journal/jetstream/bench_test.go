package jetstream

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var benchSizes = []int{1 << 10, 64 << 10, 1 << 20}

// BenchmarkFsync is the yardstick: what the disk takes for a bare write and fsync of an entry's size, in files
// of 8 MiB one after the other, as the store writes them. (Written over and over, one file may well be faster
// than new ones.)
func BenchmarkFsync(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			dir, data := b.TempDir(), make([]byte, size)
			files, off := 0, int64(8<<20)
			var f *os.File
			measure(b, size, func() {
				if off >= 8<<20 {
					f, off = nextFile(b, dir, files), 0
					files++
				}
				if _, err := f.WriteAt(data, off); err != nil {
					b.Fatal(err)
				}
				off += int64(size)
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func nextFile(b *testing.B, dir string, n int) *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	return f
}

// BenchmarkAppend appends one entry at a time, as a term does.
func BenchmarkAppend(b *testing.B) {
	for _, durability := range []Durability{Always, Interval} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprint(durability, "/", size>>10, "KiB"), func(b *testing.B) {
				s := openBench(b, Config{Durability: durability})
				data := make([]byte, size)
				var last uint64
				measure(b, size, func() {
					if err := s.Append(b.Context(), last, data); err != nil {
						b.Fatal(err)
					}
					last++
					if last%512 == 0 { // keep the disk from filling up
						b.StopTimer()
						if err := s.Purge(b.Context(), last); err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
					}
				})
			})
		}
	}
}

// BenchmarkScan replays 256 MiB, from the page cache once the first iteration has run.
func BenchmarkScan(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			s := openBench(b, Config{Durability: Interval})
			n := uint64(256 << 20 / size)
			data := make([]byte, size)
			for i := range n {
				if err := s.Append(b.Context(), i, data); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(n) * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Scan(b.Context(), 1, n, func(uint64, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func openBench(b *testing.B, cfg Config) *Stream {
	b.Helper()
	cfg.Dir = b.TempDir()
	st, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return st.Stream(0)
}

// measure runs op b.N times and reports its median beside the mean: disks have outliers.
func measure(b *testing.B, size int, op func()) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		begin := time.Now()
		op()
		took = append(took, time.Since(begin))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
}
