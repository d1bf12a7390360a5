-- A tree of frames and bytes, by type and direction: printed by tshark at the end (the preference "statistics", or
-- -X lua_script1:statistics), and in Wireshark's menu Tools, Crust.

local arguments = { ... }
local asked = arguments[1] == "statistics"
local counts

function crust.forget_statistics()
  counts = { frames = 0, bytes = 0, names = {} }
end

local function add(node, bytes)
  node.frames, node.bytes = node.frames + 1, node.bytes + bytes
end

local function child(node, key)
  node[key] = node[key] or { frames = 0, bytes = 0, names = {} }
  return node[key]
end

function crust.count(name, bytes, direction)
  add(counts, bytes)
  local by_name = child(counts.names, name)
  add(by_name, bytes)
  add(child(by_name.names, direction), bytes)
end

local function sorted(nodes)
  local keys = {}
  for key in pairs(nodes) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(one, other)
    if nodes[one].bytes ~= nodes[other].bytes then
      return nodes[one].bytes > nodes[other].bytes
    end
    return one < other
  end)
  return keys
end

local function lines_of(node, name, depth, lines)
  local share = counts.bytes > 0 and 100 * node.bytes / counts.bytes or 0
  local label = ("  "):rep(depth) .. name
  lines[#lines + 1] = string.format("%-40s %8d %12d %6.1f%%", label, node.frames, node.bytes, share)
  for _, key in ipairs(sorted(node.names)) do
    lines_of(node.names[key], key, depth + 1, lines)
  end
  return lines
end

local function text()
  local lines = { string.format("%-40s %8s %12s %7s", "Crust", "frames", "bytes", "of all") }
  return table.concat(lines_of(counts, "all", 0, lines), "\n") .. "\n"
end

local listener = Listener.new("frame", "crust")
function listener.draw()
  if not gui_enabled() and (asked or crust.proto.prefs.statistics) then
    print(text())
  end
end

if gui_enabled() then
  register_menu("Crust/Statistics", function()
    local window = TextWindow.new("Crust: frames and bytes")
    window:set(text())
  end, MENU_TOOLS_UNSORTED)
end

crust.forget_statistics()
