// etcd's own lock for Go, measured as ours is: a line "WHAT COUNT" is answered with nanoseconds, by benches/etcd.rs.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

var (
	client     *clientv3.Client
	background = context.Background()
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A session is a lease and what keeps it alive, as one of our guards has it.
func lock(name string) (*concurrency.Session, *concurrency.Mutex) {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
	must(err)
	mutex := concurrency.NewMutex(session, name)
	must(mutex.Lock(background))
	return session, mutex
}

func cycle() (acquire, release time.Duration) {
	start := time.Now()
	session, mutex := lock("bench/cycle-go")
	acquire = time.Since(start)
	start = time.Now()
	must(mutex.Unlock(background))
	must(session.Close())
	return acquire, time.Since(start)
}

// What a refused attempt asks; this version has no TryLock.
func look() time.Duration {
	start := time.Now()
	_, err := client.Get(background, "bench/held/", clientv3.WithFirstCreate()...)
	must(err)
	return time.Since(start)
}

func handOver() time.Duration {
	session, mutex := lock("bench/handover-go")
	acquired := make(chan time.Time)
	go func() {
		next, mutex := lock("bench/handover-go")
		acquired <- time.Now()
		must(mutex.Unlock(background))
		must(next.Close())
		close(acquired)
	}()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	must(mutex.Unlock(background))
	end := <-acquired
	<-acquired
	must(session.Close())
	return end.Sub(start)
}

// So many wait for a lock that is held, and then each has it for 5 ms.
func crowd(count int) time.Duration {
	session, mutex := lock("bench/crowd-go")
	var all sync.WaitGroup
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			session, mutex := lock("bench/crowd-go")
			time.Sleep(5 * time.Millisecond)
			must(mutex.Unlock(background))
			must(session.Close())
		}()
	}
	time.Sleep(time.Second)
	start := time.Now()
	must(mutex.Unlock(background))
	must(session.Close())
	all.Wait()
	return time.Since(start)
}

func main() {
	var err error
	client, err = clientv3.New(clientv3.Config{Endpoints: os.Args[1:2], DialTimeout: 5 * time.Second})
	must(err)
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var what string
		var count int
		fmt.Sscan(commands.Text(), &what, &count)
		switch what {
		case "cycle":
			acquire, release := cycle()
			fmt.Println(acquire.Nanoseconds(), release.Nanoseconds())
		case "look":
			fmt.Println(look().Nanoseconds())
		case "handover":
			fmt.Println(handOver().Nanoseconds())
		case "crowd":
			fmt.Println(crowd(count).Nanoseconds())
		}
	}
}
