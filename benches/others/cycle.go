// Serves others.py: "cycle COUNT PATH" and "busy COUNT PATH", answered with nanoseconds for one.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nightlyone/lockfile"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what, path string
		var count int64
		fmt.Sscan(strings.TrimSpace(lines.Text()), &what, &count, &path)
		lock, err := lockfile.New(path)
		if err != nil {
			panic(err)
		}
		started := time.Now()
		for i := int64(0); i < count; i++ {
			err := lock.TryLock()
			if what == "busy" {
				if err == nil {
					panic("it took a lock that somebody has")
				}
				continue
			}
			if err != nil {
				panic(err)
			}
			if err := lock.Unlock(); err != nil {
				panic(err)
			}
		}
		fmt.Println(float64(time.Since(started).Nanoseconds()) / float64(count))
	}
}
