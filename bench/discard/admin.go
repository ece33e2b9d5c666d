package discard

// What a client asks besides producing: versions, metadata, a producer id, end offsets, the topic's limits.

import (
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// versions are the requests that are answered, with the last version of each that this broker was written
// for.
var versions = []kmsg.ApiVersionsResponseApiKey{
	{ApiKey: int16(kmsg.Produce), MinVersion: 3, MaxVersion: 13},
	{ApiKey: int16(kmsg.ListOffsets), MinVersion: 1, MaxVersion: 7},
	{ApiKey: int16(kmsg.Metadata), MinVersion: 0, MaxVersion: 12},
	{ApiKey: int16(kmsg.ApiVersions), MinVersion: 0, MaxVersion: 3},
	{ApiKey: int16(kmsg.InitProducerID), MinVersion: 0, MaxVersion: 4},
	{ApiKey: int16(kmsg.DescribeConfigs), MinVersion: 0, MaxVersion: 4},
}

// answer answers every request but produce.
func (b *Broker) answer(req kmsg.Request, body []byte) (kmsg.Response, error) {
	if r, ok := req.(*kmsg.ApiVersionsRequest); ok {
		return b.apiVersions(r), nil // what it says of the client does not matter, and it may be too new to be read
	}
	if err := req.ReadFrom(body); err != nil {
		return nil, err
	}
	switch r := req.(type) {
	case *kmsg.MetadataRequest:
		return b.metadata(r)
	case *kmsg.InitProducerIDRequest:
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID = b.producer.Add(1)
		return resp, nil
	case *kmsg.ListOffsetsRequest:
		return b.listOffsets(r), nil
	case *kmsg.DescribeConfigsRequest:
		return b.describeConfigs(r), nil
	default:
		return nil, fmt.Errorf("a broker that discards does not answer %s", kmsg.NameForKey(req.Key()))
	}
}

func (b *Broker) apiVersions(r *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ApiVersionsResponse)
	if r.Version > 3 { // Kafka answers in version 0, the client asks again in one of these
		resp.Version = 0
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	}
	resp.ApiKeys = versions
	return resp
}

func (b *Broker) metadata(r *kmsg.MetadataRequest) (kmsg.Response, error) {
	host, portText, err := net.SplitHostPort(b.Addr())
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseInt(portText, 10, 32)
	if err != nil {
		return nil, err
	}
	resp := r.ResponseKind().(*kmsg.MetadataResponse)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = nodeID, host, int32(port)
	resp.Brokers = append(resp.Brokers, broker)
	resp.ControllerID = nodeID
	cluster := "discard"
	resp.ClusterID = &cluster
	if r.Topics == nil {
		resp.Topics = append(resp.Topics, b.metadataTopic(&b.topic, b.topicID))
	}
	for _, t := range r.Topics {
		resp.Topics = append(resp.Topics, b.metadataTopic(t.Topic, t.TopicID))
	}
	return resp, nil
}

func (b *Broker) metadataTopic(name *string, id [16]byte) kmsg.MetadataResponseTopic {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID = name, id
	switch {
	case name != nil && *name != b.topic:
		topic.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return topic
	case name == nil && id != b.topicID:
		topic.ErrorCode = kerr.UnknownTopicID.Code
		return topic
	}
	topic.Topic, topic.TopicID = &b.topic, b.topicID
	for i := range b.counts {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader = int32(i), nodeID
		p.Replicas, p.ISR = []int32{nodeID}, []int32{nodeID}
		topic.Partitions = append(topic.Partitions, p)
	}
	return topic
}

// listOffsets answers the count of what arrived as the end of each partition; nothing can be read, so the
// start, and the offset of any time, is the end too.
func (b *Broker) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, t := range r.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for _, asked := range t.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = asked.Partition
			if t.Topic != b.topic || asked.Partition < 0 || int(asked.Partition) >= len(b.counts) {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else {
				p.Offset = b.counts[asked.Partition].records.Load()
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// describeConfigs names the one setting that a producer may want to know.
func (b *Broker) describeConfigs(r *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
	limit := strconv.Itoa(batchMaxSize)
	for _, asked := range r.Resources {
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ResourceType, res.ResourceName = asked.ResourceType, asked.ResourceName
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value = "max.message.bytes", &limit
		if asked.ResourceType == kmsg.ConfigResourceTypeBroker {
			c.Name = "message.max.bytes"
		}
		res.Configs = append(res.Configs, c)
		resp.Resources = append(resp.Resources, res)
	}
	return resp
}
