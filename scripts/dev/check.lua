-- For `luafn check`: loads dev/auth.lua, which says what is wrong with it.
require "lib.config"

return function() end
