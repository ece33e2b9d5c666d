//go:build faults || kafka

// Package rig drives the real gateway, as a process, between a load that keeps a ledger and a broker that can
// be hurt:
//
//	load --gRPC--> [Proxy] --> Gateway (process) --Kafka--> [Proxy] --> Broker (process)
//	  |                                                                   |
//	  +--------> ledger.Ledger <-- ledger.Judge <-------- Reader ---------+
//
//	Binary        builds a package of this repository once and says where the program is
//	NewGateway    a gateway with free ports, a folder and settings: Start, Ready, Kill, Term, Exit, Metrics, Log
//	StartFake     kfake in a process of its own: Fail, Heal, Shuffle, Close, Open; signals reach only it
//	StartApache   one or three brokers of Apache Kafka (package kafkatest)
//	Embedded      the gateway's own broker, as a Broker to read from
//	NewProxy      toxiproxy in front of anything that speaks TCP
//	StartLoad     unary callers, streams and batch streams at a fixed rate: Fresh, Pause, Stop
//	Subscribe     a subscriber that resumes by cursor: Hold, Release, Ends; what it received is a ledger.Received
//	Read          every record of a topic, straight from the broker
//	Watch         scrapes /metrics and /proc all the time: the accounting identity, peak memory
//
// Everything ends with the test that started it. Nothing here judges what the records say: that is
// ledger.Judge; rig adds what is about time, resources and metrics.
package rig
