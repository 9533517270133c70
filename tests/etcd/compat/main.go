// Obeys commands over a pipe, a line at a time, by etcd's own lock for Go. Lock answers when it has the lock.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	client, err := clientv3.New(clientv3.Config{Endpoints: os.Args[1:2], DialTimeout: 5 * time.Second})
	must(err)
	session, err := concurrency.NewSession(client, concurrency.WithTTL(5))
	must(err)
	mutex := concurrency.NewMutex(session, os.Args[2])
	background := context.Background()
	fmt.Println("ready")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		switch commands.Text() {
		case "Lock":
			must(mutex.Lock(background))
		case "Unlock":
			must(mutex.Unlock(background))
		case "Key":
			fmt.Println(mutex.Key())
			continue
		case "IsOwner":
			answer, err := client.Txn(background).If(mutex.IsOwner()).Commit()
			must(err)
			fmt.Println(answer.Succeeded)
			continue
		}
		fmt.Println("ok")
	}
	must(session.Close())
}
