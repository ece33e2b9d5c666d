package main

// Reading back: what SubscribeEvents and ReplayEvents are served from. Without
// Kafka there is nothing to read.

import (
	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/stages"
)

// openReading opens the readers of KAFKA_TOPIC.
func (g *gateway) openReading() (err error) {
	if g.producer == nil {
		return nil
	}
	g.readers, err = kafka.NewReaders(&g.cfg.kafka, &g.cfg.reading, kafka.ReaderParts{
		Topic: g.topics.Named(g.cfg.kafka.Topic), Log: g.log, Embedded: g.embedded, DeliveryTimeout: g.cfg.pipeline.DeliveryTimeout,
		SendTimeout: g.cfg.transport.SendTimeout,
	})
	return err
}

// reading is what the server asks; nil when there is nothing to read.
func (g *gateway) reading() stages.Reading {
	if g.readers == nil {
		return nil // not g.readers: a nil *Readers is not a nil Reading
	}
	return g.readers
}
