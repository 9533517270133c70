// The other side of tests/it/interop.rs: the Go package, carrying out commands, one a line.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/nightlyone/lockfile"
)

func main() {
	lock, err := lockfile.New(os.Args[1])
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		switch commands.Text() {
		case "TryLock":
			err = lock.TryLock()
		case "Unlock":
			err = lock.Unlock()
		case "GetOwner":
			var owner *os.Process
			if owner, err = lock.GetOwner(); err == nil {
				fmt.Println(owner.Pid)
				continue
			}
		}
		fmt.Println(err)
	}
}
