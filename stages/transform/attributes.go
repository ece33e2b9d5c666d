package transform

// The attributes that programs see, by their names.

// text is where the attribute of a name is.
func (e *env) text(name string) *string {
	switch name {
	case "id":
		return &e.id
	case "source":
		return &e.source
	case "type":
		return &e.typ
	case "subject":
		return &e.subject
	case "data_content_type":
		return &e.contentType
	case "partition_key":
		return &e.partitionKey
	case "gateway":
		return &e.gateway
	case "client":
		return &e.client
	}
	return nil
}

// attributeNames are the names that a program sees beside data, metadata, time and now.
var attributeNames = []string{"id", "source", "type", "subject", "data_content_type", "partition_key", "gateway", "client"}
