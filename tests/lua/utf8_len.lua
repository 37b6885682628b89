-- utf8.len of texts that are counted in blocks of 64 KB: characters and faults on, before and behind
-- the first two ends of a block. The test compares what it returns with what Lua's own gives.
local BLOCK = 65536
local parts = {
    "x", "\u{e4}", "\u{20ac}", "\u{1f600}", "\u{3ffffff}", "\u{7fffffff}", "\xff", "\xc3", "\xe2\x82",
    "\x80", ("\x80"):rep(9), "\0",
}
local bounds = { { 1, -1 }, { 2, BLOCK }, { BLOCK, -2 }, { -BLOCK, BLOCK + 3 }, { BLOCK + 2, 2 * BLOCK } }

local out = {}
local function note(count, fault)
    if type(count) == "string" then count = count:gsub("to '.-' ", "") end -- a name from `package`
    out[#out + 1] = ("%s/%s"):format(count, fault)
end

for _, part in ipairs(parts) do
    for _, at in ipairs { BLOCK, 2 * BLOCK } do
        for before = 0, 8 do
            local text = ("x"):rep(at - before) .. part .. ("\u{e4}"):rep(BLOCK // 3)
            for _, bound in ipairs(bounds) do
                for _, lax in ipairs { false, true } do
                    local _, count, fault = pcall(utf8.len, text, bound[1], bound[2], lax)
                    note(count, fault)
                end
            end
        end
    end
end
local long = ("x"):rep(BLOCK + 1)
local outside = { { 0 }, { BLOCK + 2 }, { BLOCK + 3 }, { 1, BLOCK + 2 }, { -BLOCK - 2 }, { 3, 2 }, { 1, "y" } }
for _, bound in ipairs(outside) do
    note(select(2, pcall(utf8.len, long, bound[1], bound[2])))
end
return table.concat(out, " ")
