-- The protocol's name, preferences, fields and expert infos.

local made, proto = pcall(Proto, "crust", "Crust")
if not made then
  error("the Crust dissector is there already: it is installed as a plugin, or was loaded twice")
end
crust.proto = proto

proto.prefs.tracer_ports = Pref.range("Tracer TCP ports", "5484", "Tracer connections are recognised by how they begin, on any port; on these also when the capture begins later", 65535)
proto.prefs.beacon_ports = Pref.range("Beacon UDP ports", "5483", "Where the nodes of a local network find each other", 65535)
proto.prefs.udp_ports = Pref.range("uTP and STUN UDP ports", "", "Ports of nodes: their uTP and STUN packets go to the dissectors of these protocols", 65535)
proto.prefs.beacon_key = Pref.string("Beacon key", "", "64 hexadecimal digits, to look into beacons; `crust dissector --beacon-key` prints those of a network")
proto.prefs.most_messages = Pref.uint("Messages shown of one frame", 1000, "Further messages of a MESSAGES frame are counted only")
proto.prefs.statistics = Pref.bool("Print statistics", false, "After reading a capture, tshark prints a tree of frames and bytes")

local f = {}
crust.f = f
local function field(name, made_field)
  f[name] = made_field
end

field("magic", ProtoField.bytes("crust.magic", "Magic"))
field("type", ProtoField.uint8("crust.type", "Type", base.HEX))
field("length", ProtoField.uint24("crust.length", "Length", base.DEC))
field("json", ProtoField.string("crust.json", "Content"))
field("garbage", ProtoField.bytes("crust.garbage", "Not a frame"))

-- messages
field("count", ProtoField.uint16("crust.messages.count", "Messages"))
field("lengths", ProtoField.uint16("crust.messages.length", "Length of a message"))
field("message", ProtoField.bytes("crust.message", "Message"))
field("text", ProtoField.string("crust.message.text", "Text"))
field("number", ProtoField.uint32("crust.message.number", "Number of the message in its direction"))
field("size", ProtoField.uint32("crust.message.length", "Length of the message"))
field("total", ProtoField.uint32("crust.first.total", "Length of the message"))
field("piece", ProtoField.bytes("crust.fragment.data", "Piece"))
field("fragment_offset", ProtoField.uint32("crust.fragment.offset", "Offset in the message"))
field("fragment_number", ProtoField.uint32("crust.fragment.number", "Number of the piece"))
field("fragments", ProtoField.framenum("crust.fragment", "Piece in frame", base.NONE))
field("fragment_count", ProtoField.uint32("crust.fragment.count", "Pieces"))
field("reassembled_in", ProtoField.framenum("crust.reassembled.in", "Message complete in frame", base.NONE))
field("reassembled_length", ProtoField.uint32("crust.reassembled.length", "Length of the reassembled message"))

-- control frames
field("t", ProtoField.uint64("crust.t", "Number of the question"))
field("pong_in", ProtoField.framenum("crust.pong_in", "Answer in frame", base.NONE, frametype.RESPONSE))
field("ping_in", ProtoField.framenum("crust.ping_in", "Question in frame", base.NONE, frametype.REQUEST))
field("round_trip", ProtoField.relative_time("crust.round_trip", "Time from the question"))
field("serial", ProtoField.uint64("crust.serial", "Serial of the attempt"))
field("chosen_in", ProtoField.framenum("crust.chosen_in", "Answer in frame", base.NONE, frametype.RESPONSE))
field("choose_in", ProtoField.framenum("crust.choose_in", "Choice in frame", base.NONE, frametype.REQUEST))
field("alone", ProtoField.bool("crust.alone", "The initiator knows of no other connection"))
field("reason", ProtoField.string("crust.bye.reason", "Reason"))
field("bye_text", ProtoField.string("crust.bye.text", "Text"))
field("version", ProtoField.uint16("crust.version", "Protocol version"))
field("network", ProtoField.string("crust.network", "Network tag"))
field("peer", ProtoField.string("crust.peer", "Peer id (unproven)"))
field("session", ProtoField.string("crust.session", "Session"))
field("capabilities", ProtoField.string("crust.capability", "Capability"))
field("agent", ProtoField.string("crust.agent", "Program"))

-- gossip
field("step", ProtoField.string("crust.contacts.step", "Step"))
field("exchange", ProtoField.uint64("crust.contacts.exchange", "Number of the exchange"))
field("sums", ProtoField.string("crust.contacts.sums", "Sums (base64)"))
field("buckets", ProtoField.string("crust.contacts.in", "Buckets (base64)"))
field("have", ProtoField.string("crust.contacts.have", "Has (base64)"))
field("full", ProtoField.bool("crust.contacts.full", "Wants no more nodes"))
field("record", ProtoField.string("crust.contacts.record", "Contact record (base64)"))
field("want", ProtoField.string("crust.contacts.want", "Wants (base64)"))

-- reaching others
field("seen", ProtoField.string("crust.address.seen", "Sees the other node at"))
field("ask", ProtoField.uint64("crust.address.number", "Number of the request"))
field("at", ProtoField.string("crust.address.at", "To be tried"))
field("bill", ProtoField.uint64("crust.address.bytes", "Bytes asked for"))
field("result", ProtoField.string("crust.address.result", "Result"))
field("to", ProtoField.string("crust.to", "For the peer"))
field("from", ProtoField.string("crust.from", "From the peer"))
field("seen_host", ProtoField.string("crust.punch.seen", "Seen at the host"))
field("meeting_step", ProtoField.string("crust.punch.step", "Step"))
field("meeting", ProtoField.uint64("crust.punch.meeting", "Meeting"))
field("info", ProtoField.string("crust.punch.info", "Connection info"))
field("took", ProtoField.double("crust.punch.took", "Seconds that it took to answer"))
field("punch_reason", ProtoField.string("crust.punch.reason", "Reason"))
field("channel", ProtoField.uint64("crust.relay.channel", "Channel"))
field("credit", ProtoField.uint64("crust.relay.credit", "Credit in bytes"))
field("carried", ProtoField.bytes("crust.relay.data", "Carried"))
field("relay_reason", ProtoField.string("crust.relay.reason", "Reason"))
field("relay_text", ProtoField.string("crust.relay.text", "Text"))

-- beacon
field("nonce", ProtoField.bytes("crust.beacon.nonce", "Nonce"))
field("sealed", ProtoField.bytes("crust.beacon.sealed", "Sealed"))
field("tag", ProtoField.bytes("crust.beacon.tag", "Tag"))
field("beacon_version", ProtoField.uint8("crust.beacon.version", "Version"))
field("beacon_kind", ProtoField.uint8("crust.beacon.kind", "Kind", base.DEC, { [1] = "ASK", [2] = "CHECK", [3] = "ANNOUNCE", [4] = "ANSWER", [5] = "EXCHANGE" }))
field("beacon_tcp", ProtoField.uint16("crust.beacon.tcp", "TCP port"))
field("beacon_utp", ProtoField.uint16("crust.beacon.utp", "uTP port"))
field("beacon_guid", ProtoField.bytes("crust.beacon.guid", "Beacon"))
field("beacon_peer", ProtoField.bytes("crust.beacon.peer", "Peer id"))
field("beacon_token", ProtoField.bytes("crust.beacon.token", "Token"))
field("beacon_echo", ProtoField.bytes("crust.beacon.echo", "Token that is answered"))

local every_field = {}
for _, one in pairs(f) do
  every_field[#every_field + 1] = one
end
proto.fields = every_field

local e = {}
crust.e = e
e.malformed = ProtoExpert.new("crust.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
e.cut = ProtoExpert.new("crust.cut", "Cut off in the capture", expert.group.UNDECODED, expert.severity.WARN)
e.lost = ProtoExpert.new("crust.not_a_frame", "No frame begins here", expert.group.MALFORMED, expert.severity.ERROR)
e.unknown = ProtoExpert.new("crust.unknown_type", "Control frame of a type that is not known", expert.group.UNDECODED, expert.severity.NOTE)
e.unanswered = ProtoExpert.new("crust.unasked", "An answer to nothing in this capture", expert.group.SEQUENCE, expert.severity.NOTE)
e.unfinished = ProtoExpert.new("crust.unfinished", "A message was not finished", expert.group.SEQUENCE, expert.severity.WARN)
e.unproven = ProtoExpert.new("crust.unproven", "Clear text; the identity is claimed, not proven", expert.group.SECURITY, expert.severity.NOTE)
e.sealed = ProtoExpert.new("crust.beacon.closed", "The inside is sealed", expert.group.DECRYPTION, expert.severity.NOTE)
e.opened = ProtoExpert.new("crust.beacon.open", "Opened with the beacon key of the preferences", expert.group.DECRYPTION, expert.severity.CHAT)
e.goodbye = ProtoExpert.new("crust.goodbye", "The last frame of this direction", expert.group.SEQUENCE, expert.severity.CHAT)
proto.experts = { e.malformed, e.cut, e.lost, e.unknown, e.unanswered, e.unfinished, e.unproven, e.sealed, e.opened, e.goodbye }

function crust.malformed(tree, text)
  tree:add_proto_expert_info(e.malformed, text)
end
